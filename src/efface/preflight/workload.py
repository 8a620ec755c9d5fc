"""What goes through the model in a run, in tokens: counted where data and tokenizer are here, supposed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from efface.config.commands import RunConfig
from efface.data.config import MODEL_ANSWERS
from efface.data.sources.generic_questions import GenericQuestion, first_generic_questions, with_model_answers
from efface.evaluation.generate import check_position_limit
from efface.evaluation.likelihoods import answer_rows
from efface.objectives.terms import Objective
from efface.progress.reporter import Reporter
from efface.run.model_answers import placeholder_answers
from efface.run.training import warn_before_training
from efface.schema import Prompt, Task
from efface.text.formatter import PromptFormatter, TokenizedSequence
from efface.train.examples import check_task, unlearning_examples
from efface.train.sampler import Schedule, sample_batches, schedule
from efface.train.step import Example

_SUPPOSED_PROMPT, _SUPPOSED_ANSWER = 64, 64
_ASSUMED_QUESTIONS = 1_000


@dataclass(frozen=True)
class Workload:
    """The sequences of a run."""

    steps: list[list[Example]]
    """Of the optimizer, in order; of a supposed workload, one."""
    prompts: list[int]
    """Tokens of each question that is scored."""
    answers: list[int]
    """Tokens of each question with one of its answers, whose likelihood is asked for."""
    generic: list[int]
    """Tokens of each generic question that the model answers before, where its own answers are what to keep."""
    plan: Schedule
    is_counted: bool


def measured_workload(
    config: RunConfig, task: Task, bound: Objective, formatter: PromptFormatter, *, model: Any, reporter: Reporter
) -> Workload:
    """The workload of `task`; own answers, not there yet, count as if each were as long as it may be.

    `model` may be one without weights. Raises `EffaceError` for data that the method or the model cannot use.
    """
    asked: list[GenericQuestion] = []
    if config.data.retain == MODEL_ANSWERS:
        asked = [*first_generic_questions(config.data.generic_questions)]
        answers = placeholder_answers(config.data.generic_questions, config.evaluate)
        task = with_model_answers(task, answers, retain_evaluation=config.data.retain_evaluation)
    check_task(task, bound)
    steps = unlearning_examples(sample_batches(task, config.train, config.seed), bound.views, formatter)
    warn_before_training(task, formatter, config.train, items=len(task.forget), reporter=reporter)
    generic = formatter.encode_prompts([Prompt(each.question) for each in asked])
    items = [item for each in task.evaluation for item in each.items[: config.evaluate.limit]]
    prompts = formatter.encode_prompts([item.prompt for item in items])
    check_position_limit(model, prompts, config.evaluate.max_new_tokens)
    return Workload(
        steps=steps,
        prompts=[len(ids) for ids in prompts],
        answers=[len(each) for each in formatter.encode(answer_rows(items))],
        generic=[len(ids) for ids in generic],
        plan=schedule(len(task.forget), config.train),
        is_counted=True,
    )


def assumed_workload(config: RunConfig, bound: Objective) -> Workload:
    """A step and an evaluation of 64 tokens in every question and answer."""
    sequence = TokenizedSequence("supposed", [0] * _SUPPOSED_PROMPT, [0] * _SUPPOSED_ANSWER)
    example: Example = dict.fromkeys(bound.views, sequence)
    return Workload(
        steps=[[example] * config.train.batch_size],
        prompts=[_SUPPOSED_PROMPT] * _ASSUMED_QUESTIONS,
        answers=[len(sequence)] * _ASSUMED_QUESTIONS,
        generic=[],
        plan=Schedule(steps=1, warmup=0, per_epoch=1),
        is_counted=False,
    )


def total_tokens(examples: Sequence[Example]) -> int:
    """Tokens that the examples bring, in all their views."""
    return sum(len(sequence) for example in examples for sequence in example.values())
