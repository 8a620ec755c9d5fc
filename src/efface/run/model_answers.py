"""`data.retain=model-answers`: the model's answers to generic questions are the retain set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from efface.atomic import write_text
from efface.data.config import MODEL_ANSWERS, DataConfig
from efface.data.sources.generic_questions import first_generic_questions, load_generic_questions, truncate_to_sentence
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.generate import generate
from efface.models.open import OpenedModel
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.safe_read import parse_json
from efface.schema import Prompt
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
    config: EvaluateConfig,
    reporter: Reporter,
    placeholders: bool = False,
) -> dict[str, str] | None:
    """The answers that are the retain set: those on disk, or generated now.

    Args:
        folder: Where an earlier part of the run may have written answers; nothing is written here.
        data: Says whether model answers are the retain set, and how many questions to answer.
        opened: The model before unlearning.
        config: Limits of generation.
        reporter: Gets the stage and its progress.
        placeholders: Use `placeholder_answers` where there are none on disk, as a dry run does.

    Returns:
        Id of a generic question -> answer; None where the retain set is something else.

    Raises:
        EffaceError: The file on disk is damaged, or a question leaves no space for an answer.
    """
    if data.retain != MODEL_ANSWERS:
        return None
    if known := read_answers(folder):
        return known
    if placeholders:
        return placeholder_answers(data.generic_questions, config)
    return opened.parallel_model.forward_in_step(
        lambda model: generate_model_answers(
            model, opened.formatter, questions=data.generic_questions, config=config, reporter=reporter
        )
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
        question.id: each.text if len(each.token_ids) < max_new_tokens else truncate_to_sentence(each.text)
        for question, each in zip(asked, generations, strict=True)
    }


def placeholder_answers(questions: int, config: EvaluateConfig) -> dict[str, str]:
    """Answers of the greatest length without running the model, which takes minutes: a short word for every token.

    Args:
        questions: How many questions to answer.
        config: Limits of generation.

    Returns:
        Id of each generic question -> placeholder.
    """
    answer = " ".join(["the"] * max_answer_tokens(config))
    return {each.id: answer for each in first_generic_questions(questions)}


def read_answers(folder: RunFolder) -> dict[str, str] | None:
    """Read the answers that a run wrote.

    Returns:
        Id of each generic question -> answer; None where there is no file.

    Raises:
        EffaceError: The file is damaged.
    """
    if not folder.model_answers.is_file():
        return None
    ids = {each.question: each.id for each in load_generic_questions()}
    try:
        rows = [parse_json(line) for line in folder.model_answers.read_text(encoding="utf-8").split("\n") if line]
        return {ids[row["question"]]: row["answer"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise EffaceError(f"{folder.model_answers} is damaged; remove it and continue with --resume") from error


def write_answers(folder: RunFolder, answers: Mapping[str, str]) -> None:
    """Write the answers to the run's folder, as a data file that a resumed run, and any other, can read.

    Args:
        folder: The run's folder.
        answers: Id of a generic question -> answer; blank ones are left out.

    Raises:
        EffaceError: The file cannot be written.
    """
    questions = {each.id: each.question for each in load_generic_questions()}
    rows = [{"question": questions[id_], "answer": answer} for id_, answer in answers.items() if answer.strip()]
    write_text(folder.model_answers, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
