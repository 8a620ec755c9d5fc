"""`data.retain=model-answers`: what the model itself answers to generic questions is what it is to keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from efface.atomic import write_text
from efface.config.commands import RunConfig
from efface.data.sources.generic_questions import first_generic_questions, load_generic_questions, truncate_to_sentence
from efface.errors import EffaceError
from efface.evaluation.generate import generate
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.schema import Prompt
from efface.text.formatter import PromptFormatter

RetainAnswerer = Callable[[Any, PromptFormatter, RunConfig, Reporter], dict[str, str]]
"""Makes the answers to keep: `generate_retain_answers`, or what stands in for it."""

_LONGEST = 64
"""Tokens of an answer: a few sentences keep a behavior as well as a page does, at a part of the cost."""


def longest_answer(config: RunConfig) -> int:
    """Most tokens of an answer."""
    return min(_LONGEST, config.evaluate.max_new_tokens)


def generate_retain_answers(
    model: Any, formatter: PromptFormatter, config: RunConfig, reporter: Reporter
) -> dict[str, str]:
    """Id of each generic question -> `model`'s greedy answer, cut behind its last sentence where it did not end."""
    questions = first_generic_questions(config.data.generic_questions)
    max_new_tokens = longest_answer(config)
    reporter.on_stage(f"answering {len(questions)} generic questions: the answers are what to keep")
    said = generate(
        model,
        formatter,
        [Prompt(each.question) for each in questions],
        max_new_tokens=max_new_tokens,
        max_cache_tokens=config.evaluate.max_cache_tokens,
        progress=lambda done: reporter.on_progress("answers", done, len(questions)),
    )
    return {
        question.id: each.text if len(each.token_ids) < max_new_tokens else truncate_to_sentence(each.text)
        for question, each in zip(questions, said, strict=True)
    }


def longest_possible_answers(
    _model: Any, _formatter: PromptFormatter, config: RunConfig, _: Reporter
) -> dict[str, str]:
    """In place of `generate_retain_answers`, which asks the model for minutes: a short word for every new token."""
    answer = " ".join(["the"] * longest_answer(config))
    return {each.id: answer for each in first_generic_questions(config.data.generic_questions)}


def read_answers(out: RunFolder) -> dict[str, str] | None:
    """The answers that a run wrote; None where there are none. Raises `EffaceError` for a damaged file."""
    if not out.model_answers.is_file():
        return None
    ids = {each.question: each.id for each in load_generic_questions()}
    try:
        rows = [json.loads(line) for line in out.model_answers.read_text(encoding="utf-8").split("\n") if line]
        return {ids[row["question"]]: row["answer"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise EffaceError(f"{out.model_answers} is damaged; remove it and go on with --resume") from error


def write_answers(out: RunFolder, answers: Mapping[str, str]) -> None:
    """Keep the answers in the run's folder: a run that goes on keeps the same, and others can take the file."""
    questions = {each.id: each.question for each in load_generic_questions()}
    rows = [{"question": questions[id_], "answer": answer} for id_, answer in answers.items() if answer.strip()]
    write_text(out.model_answers, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
