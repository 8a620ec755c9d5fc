"""The sequences that go through the model in a run: tokenized where data and tokenizer are available, else assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from efface.config.commands import RunConfig
from efface.data.config import MODEL_ANSWERS
from efface.data.sources.documents import chunk_tokens
from efface.data.sources.generic_questions import first_generic_questions, with_model_answers
from efface.data.sources.kept_facts import facts_to_ask, in_other_words
from efface.evaluation.encode import encode_evaluation, warn_about_merged
from efface.objectives.terms import Objective, View
from efface.packing.padded_rows import pad
from efface.progress.reporter import Reporter
from efface.run.model_answers import placeholder_answers
from efface.run.preparation.plan import training_steps
from efface.run.training import warn_before_training
from efface.schema import Prompt, Task
from efface.text.chunks import with_chunks
from efface.text.formatter import PromptFormatter
from efface.text.sequence import TokenizedSequence
from efface.train.batches.micro_batches import TrainingExample, count_tokens
from efface.train.batches.sampler import anchor_items
from efface.train.batches.schedule import Schedule, make_schedule

_ASSUMED_PROMPT_TOKENS, _ASSUMED_ANSWER_TOKENS = 64, 64
_ASSUMED_QUESTIONS = 1_000


@dataclass(frozen=True)
class Workload:
    """The lengths of a run's sequences, in tokens."""

    steps: Sequence[Sequence[TrainingExample]]
    """The examples of each optimizer step, in order; of an assumed workload, of one step."""
    prompts: list[int]
    """Tokens of each question that is scored."""
    answers: list[int]
    """Tokens of each question with one of its answers, for the likelihood of that answer."""
    generic: list[int]
    """Tokens of each question that the model answers first, where its answers are the retain set."""
    plan: Schedule


def measured_workload(
    config: RunConfig, task: Task, objective: Objective, formatter: PromptFormatter, *, model: Any, reporter: Reporter
) -> Workload:
    """Tokenize what goes through the model in a run.

    Args:
        config: The run's settings.
        task: Its data. The model's answers to generic questions, which do not exist yet, count with their maximum
            length, and it counts as knowing every fact.
        objective: The method's terms.
        formatter: Tokenizes prompts and answers.
        model: The model; one on the meta device is enough.
        reporter: Warned as before training.

    Returns:
        The workload.

    Raises:
        EffaceError: For data that the method or the model cannot use.
    """
    asked: list[Prompt] = []
    if config.data.retain == MODEL_ANSWERS:
        asked = [Prompt(each.question) for each in first_generic_questions(config.data.generic_questions)]
        facts = facts_to_ask(task.forget, config.data.known_facts)
        asked += [item.prompt for fact in facts for item in (fact, in_other_words(fact))]
        answers = placeholder_answers(config.data, task.forget, config.evaluate)
        task = with_model_answers(task, answers, retain_evaluation=config.data.retain_evaluation)
    task = with_chunks(task, formatter, chunk_tokens(config.data))
    steps = training_steps(task, objective, config, formatter)
    boundary = config.text.boundary
    warn_before_training(
        task, steps, config.train, items=len(anchor_items(task, config.train)), boundary=boundary, reporter=reporter
    )
    generic = formatter.encode_prompts(asked)
    questions = encode_evaluation(model, formatter, task.evaluation, config.evaluate)
    warn_about_merged(questions, boundary, reporter.on_warning)
    return Workload(
        steps=steps,
        prompts=[len(question.prompt) for question in questions if question.max_new_tokens],
        answers=[len(answer) for question in questions for answer in question.answers],
        generic=[len(ids) for ids in generic],
        plan=make_schedule(len(anchor_items(task, config.train)), config.train),
    )


def assumed_workload(config: RunConfig, objective: Objective) -> Workload:
    """A workload of one optimizer step and 1,000 scored questions, with 64 tokens in every question and every answer.

    Args:
        config: The run's settings.
        objective: The method's terms.

    Returns:
        The workload.
    """
    number = count()

    def sequence(view: View) -> TokenizedSequence:  # no two of them share a prefix
        token = next(number)
        made = TokenizedSequence("assumed", [token] * _ASSUMED_PROMPT_TOKENS, [token] * _ASSUMED_ANSWER_TOKENS)
        length = objective.row_lengths.get(view)
        return made if length is None else pad(made, max(length, len(made)), pad_token=token, end_token=token)

    return Workload(
        steps=[[{view: sequence(view) for view in objective.views} for _ in range(config.train.batch_size)]],
        prompts=[_ASSUMED_PROMPT_TOKENS] * _ASSUMED_QUESTIONS,
        answers=[_ASSUMED_PROMPT_TOKENS + _ASSUMED_ANSWER_TOKENS] * _ASSUMED_QUESTIONS,
        generic=[],
        plan=Schedule(steps=1, warmup_steps=0, steps_per_epoch=1),
    )


def total_tokens(examples: Sequence[TrainingExample]) -> int:
    """Number of tokens in all views of the examples."""
    return sum(map(count_tokens, examples))


def describe_task(task: Task) -> str:
    """Name and size of a task, such as `tofu-forget01: 40 forget items, 3,960 retain items`."""
    return f"{task.name}: {len(task.forget):,} forget items, {len(task.retain):,} retain items"
