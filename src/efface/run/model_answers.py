"""`data.retain=model-answers`: what the model answers to generic questions, and facts that it knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from efface.data.config import MODEL_ANSWERS, DataConfig
from efface.data.sources.generic_questions import first_generic_questions, load_generic_questions, truncate_to_sentence
from efface.data.sources.kept_facts import (
    LEAST_HELD_OUT,
    MAX_NEW_TOKENS,
    facts_to_ask,
    in_other_words,
    split_facts,
)
from efface.data.sources.known_facts import load_known_facts
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import encode_questions
from efface.evaluation.generate import Generation, generate
from efface.evaluation.judging.key_fact_judge import contains_fact
from efface.evaluation.likelihoods import likelihoods
from efface.files.atomic import write_text
from efface.files.safe_read import parse_json
from efface.main_process import from_main_process
from efface.models.open import OpenedModel
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.schema import Item, Prompt
from efface.scores.means import mean
from efface.text.formatter import PromptFormatter

_MAX_NEW_TOKENS = 64
"""A few sentences preserve a behavior as well as a page does, at a fraction of the cost."""


def max_answer_tokens(config: EvaluateConfig) -> int:
    """Most tokens of an answer."""
    return min(_MAX_NEW_TOKENS, config.max_new_tokens)


def resolve_model_answers(
    folder: RunFolder,
    data: DataConfig,
    opened: OpenedModel,
    *,
    forget: Sequence[Item],
    config: EvaluateConfig,
    reporter: Reporter,
    placeholders: bool = False,
) -> dict[str, str] | None:
    """The answers that are the retain set: those on disk, or generated now.

    Args:
        folder: Where an earlier part of the run may have written answers; nothing is written here.
        data: Says whether model answers are the retain set, and how many questions to answer.
        opened: The model before unlearning.
        forget: All items to forget, of every request: facts about them are not asked.
        config: Limits of generation.
        reporter: Gets the stage and its progress.
        placeholders: Use `placeholder_answers` where there are none on disk, as a dry run does.

    Returns:
        Id of a generic question, or of a fact that the model knows -> answer; None where the retain set is something
        else.

    Raises:
        EffaceError: The file on disk is damaged, or a question leaves no space for an answer.
    """
    if data.retain != MODEL_ANSWERS:
        return None
    if known := read_answers(folder):
        return known
    if placeholders:
        return placeholder_answers(data, forget, config)
    facts = facts_to_ask(forget, data.known_facts)
    return opened.parallel_model.forward_in_step(
        lambda model: {
            **generate_model_answers(
                model, opened.formatter, questions=data.generic_questions, config=config, reporter=reporter
            ),
            **find_known_facts(model, opened.formatter, facts, config=config, reporter=reporter),
        }
    )


def generate_model_answers(
    model: Any, formatter: PromptFormatter, *, questions: int, config: EvaluateConfig, reporter: Reporter
) -> dict[str, str]:
    """Answer generic questions greedily.

    Args:
        model: The model before unlearning.
        formatter: Encodes the questions.
        questions: How many questions to answer.
        config: Limits of generation.
        reporter: Gets the stage and its progress.

    Returns:
        Id of each generic question -> answer, cut after its last complete sentence where it did not end in time.

    Raises:
        EffaceError: A question leaves no space for an answer.
    """
    asked = first_generic_questions(questions)
    if not asked:
        return {}
    max_new_tokens = max_answer_tokens(config)
    reporter.on_stage(f"answering {len(asked)} generic questions: the answers are the retain set")
    generations = generate(
        model,
        formatter,
        [Prompt(each.question) for each in asked],
        max_new_tokens=max_new_tokens,
        max_cache_tokens=config.max_cache_tokens,
        progress=lambda done: reporter.on_progress("answers", done, len(asked)),
    )
    return {
        question.id: _whole_sentences(each, max_new_tokens) for question, each in zip(asked, generations, strict=True)
    }


def find_known_facts(
    model: Any, formatter: PromptFormatter, facts: Sequence[Item], *, config: EvaluateConfig, reporter: Reporter
) -> dict[str, str]:
    """Ask about facts, and once more in other words about those that the model knows.

    Args:
        model: The model before unlearning.
        formatter: Encodes questions and answers.
        facts: With key facts and wrong answers.
        config: Limits of generation and of a forward pass.
        reporter: Gets the stage and its progress.

    Returns:
        Id of each question that the model answers correctly, preferring the answer to every wrong one -> its own
        answer: training on it changes the model less than on another wording. None where too few facts are known in
        both wordings to measure what is kept, which is a warning.

    Raises:
        EffaceError: A question leaves no space for an answer.
    """
    if not facts:
        return {}
    reporter.on_stage(f"asking about {len(facts)} well-known facts: those that the model knows should stay")
    answers = _known_answers(model, formatter, facts, config, reporter)
    again = [in_other_words(item) for item in facts if item.id in answers]
    in_other = _known_answers(model, formatter, again, config, reporter)
    answers |= in_other
    if len(split_facts(answers, ())[1]) < LEAST_HELD_OUT:
        reporter.on_warning(
            f"the model knows {len(in_other)} of {len(facts)} well-known facts in both wordings: too few to measure "
            "what it keeps, so they are left out; raise data.known_facts, or give a retain set as data.retain=FILE"
        )
        return {}
    return answers


def _known_answers(
    model: Any, formatter: PromptFormatter, facts: Sequence[Item], config: EvaluateConfig, reporter: Reporter
) -> dict[str, str]:
    """Id of each fact that the model states, and prefers to every wrong answer -> what it says."""
    generations = generate(
        model,
        formatter,
        [item.prompt for item in facts],
        max_new_tokens=MAX_NEW_TOKENS,
        max_cache_tokens=config.max_cache_tokens,
        progress=lambda done: reporter.on_progress("facts", done, len(facts)),
    )
    answers = {item.id: _whole_sentences(each, MAX_NEW_TOKENS) for item, each in zip(facts, generations, strict=True)}
    stated = [item for item in facts if contains_fact(answers[item.id], str(item.key_fact))]
    preferred = _prefers(model, formatter, stated, config)
    return {item.id: answers[item.id] for item, each in zip(stated, preferred, strict=True) if each}


def _whole_sentences(generation: Generation, max_new_tokens: int) -> str:
    """The text, cut after its last complete sentence where it did not end in time."""
    ended = len(generation.token_ids) < max_new_tokens
    return generation.text if ended else truncate_to_sentence(generation.text)


def _prefers(model: Any, formatter: PromptFormatter, facts: Sequence[Item], config: EvaluateConfig) -> list[bool]:
    """Whether the correct answer of each fact is likelier than every wrong one, per token."""
    scored = [item.model_copy(update={"paraphrased_answer": None}) for item in facts]
    found = likelihoods(
        model, encode_questions(formatter, scored), max_tokens_per_forward=config.max_tokens_per_forward
    )
    return from_main_process(lambda: [mean(each.answer) > max(map(mean, each.perturbed)) for each in found])


def placeholder_answers(data: DataConfig, forget: Sequence[Item], config: EvaluateConfig) -> dict[str, str]:
    """Answers without running the model, which takes minutes: as if it knew every fact, and otherwise the longest ones.

    Args:
        data: How many questions to answer.
        forget: All items to forget.
        config: Limits of generation.

    Returns:
        Id of each question -> a correct answer, or for a generic one a short word for every token.
    """
    answer = " ".join(["the"] * max_answer_tokens(config))
    generic = {each.id: answer for each in first_generic_questions(data.generic_questions)}
    facts = facts_to_ask(forget, data.known_facts)
    return {**generic, **{each.id: fact.answer for fact in facts for each in (fact, in_other_words(fact))}}


def read_answers(folder: RunFolder) -> dict[str, str] | None:
    """Read the answers that a run wrote.

    Returns:
        Id of each generic question -> answer; None where there is no file.

    Raises:
        EffaceError: The file is damaged.
    """
    if not folder.model_answers.is_file():
        return None
    ids = {question: id_ for id_, question in _questions().items()}
    try:
        rows = [parse_json(line) for line in folder.model_answers.read_text(encoding="utf-8").split("\n") if line]
        return {ids[row["question"]]: row["answer"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise EffaceError(f"{folder.model_answers} is damaged; remove it and continue with --resume") from error


def write_answers(folder: RunFolder, answers: Mapping[str, str]) -> None:
    """Write the answers to the run's folder, as a data file that a resumed run, and any other, can read.

    Args:
        folder: The run's folder.
        answers: Id of a question -> answer; blank ones are left out.

    Raises:
        EffaceError: The file cannot be written.
    """
    questions = _questions()
    rows = [{"question": questions[id_], "answer": answer} for id_, answer in answers.items() if answer.strip()]
    write_text(folder.model_answers, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _questions() -> dict[str, str]:
    """Id -> question, of every generic question, and of every fact in both wordings."""
    facts = [each.item for each in load_known_facts().questions]
    in_either = {each.id: each.question for fact in facts for each in (fact, in_other_words(fact))}
    return {**{each.id: each.question for each in load_generic_questions()}, **in_either}
