"""`efface data answers`: what a model itself says to questions, as data to forget or to keep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efface.atomic import write_text
from efface.config.commands import AnswerGenerationConfig, AnswersConfig
from efface.data.question_files import FileQuestion, QuestionFile, answers_to_json_lines, load_questions
from efface.data.sources.generic_questions import truncate_to_sentence
from efface.errors import EffaceError
from efface.evaluation.generate import Generation, generate
from efface.hardware.device import device_for
from efface.models.open import OpenedModel, open_model
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.report.number_format import pluralize
from efface.schema import Item

_LINES = (".jsonl", ".ndjson", ".json")
"""Endings of files that efface reads as JSON lines."""


@dataclass(frozen=True)
class AnswersReport:
    """What became of the questions."""

    questions: int
    blank: tuple[str, ...]
    """The questions to which the model said nothing, which were left out."""


@quiet_libraries()
def answer_questions(config: AnswersConfig, out: Path, *, reporter: Reporter | None = None) -> AnswersReport:
    """Ask a model every question of a file and write `out`: a file of the same questions with its own words.

    Each line of JSON has the model's `answer`, the right answer as `golden_answer`, and what else the question's row
    held, so that the file can be forgotten or kept and is scored by the right answers. Everything that can be refused
    is refused before the model is asked. Raises `EffaceError` for a file, settings or a model that cannot be used, and
    where the model has nothing to say.
    """
    reporter = reporter or SilentReporter()
    check_new_file(out)
    questions = load_questions(config.questions)
    warn(questions, reporter)
    opened = open_model(config.model, config.text, device=device_for(config.device), reporter=reporter)
    items = [each.item for each in questions.questions]
    reporter.on_stage(f"asking {config.model} {pluralize(len(items), 'question')}")
    words = generate_answers(opened, items, config.evaluate, reporter)
    said = non_blank_answers(questions.questions, words, config.model)
    write_text(out, answers_to_json_lines(said))
    silent = (item.question for item, text in zip(items, words, strict=True) if not text)
    return AnswersReport(questions=len(items), blank=tuple(silent))


def generate_answers(
    opened: OpenedModel, items: Sequence[Item], config: AnswerGenerationConfig, reporter: Reporter
) -> list[str]:
    """The model's greedy answer to each question, without white space around it; perhaps nothing.

    An answer that did not end in time ends behind its last whole sentence, if it has one. Raises `EffaceError` where
    a question leaves no room for an answer.
    """
    said = generate(
        opened.model,
        opened.formatter,
        [item.prompt for item in items],
        max_new_tokens=config.max_new_tokens,
        max_cache_tokens=config.max_cache_tokens,
        progress=lambda done: reporter.on_progress("answers", done, len(items)),
    )
    return [_complete_text(each, config.max_new_tokens) for each in said]


def non_blank_answers(
    questions: Sequence[FileQuestion], words: Sequence[str], model: str
) -> list[tuple[FileQuestion, str]]:
    """The questions to which the model said something, with that. Raises `EffaceError` where there is none."""
    said = [(question, text) for question, text in zip(questions, words, strict=True) if text]
    if not said:
        raise EffaceError(
            f"model {model} has nothing to say to any of the {len(questions):,} questions; set text.format as the "
            "model was trained, such as text.format=plain"
        )
    return said


def warn(questions: QuestionFile, reporter: Reporter) -> None:
    """Say what the user should hear about a file of questions."""
    for text in questions.warnings:
        reporter.on_warning(text)


def check_new_file(out: Path) -> None:
    """Check that answers may be written to `out`. Raises `EffaceError` where something is there, or not JSON lines."""
    if out.exists():
        raise EffaceError(f"--out {out} is already there; remove it or choose another file")
    if out.suffix.lower() not in _LINES:
        raise EffaceError(f"--out {out}: answers are written as JSON lines; let the file's name end in .jsonl")
    check_writable(out)


def check_writable(out: Path) -> None:
    """Check that `out` can be made. Raises `EffaceError` where a folder above it is a file or takes no files."""
    there = next(path for path in out.absolute().parents if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise EffaceError(f"--out {out}: {there} is no folder that can be written to; choose another place")


def _complete_text(said: Generation, max_new_tokens: int) -> str:
    text = said.text if len(said.token_ids) < max_new_tokens else truncate_to_sentence(said.text)
    return text.strip()
