"""`efface data answers`: what a model itself says to questions, as data to forget or to keep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efface.atomic import write_text
from efface.config.question_commands import AnswersConfig, AskingConfig
from efface.data.question_files import Question, Questions, load_questions, rows_with
from efface.data.sources.generic_questions import up_to_last_sentence
from efface.errors import EffaceError
from efface.evaluation.generate import Generation, generate
from efface.hardware.device import device_for
from efface.models.open import Opened, open_model
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, Silent
from efface.report.key_values import counted
from efface.schema import Item

_LINES = (".jsonl", ".ndjson", ".json")
"""Endings of files that efface reads as JSON lines."""


@dataclass(frozen=True)
class Answered:
    """What became of the questions."""

    questions: int
    blank: tuple[str, ...]
    """The questions to which the model said nothing, which were left out."""


@quiet_libraries()
def answer_questions(config: AnswersConfig, out: Path, *, reporter: Reporter | None = None) -> Answered:
    """Ask a model every question of a file and write `out`: a file of the same questions with its own words.

    Each line of JSON has the model's `answer`, the right answer as `golden_answer`, and what else the question's row
    held, so that the file can be forgotten or kept and is scored by the right answers. Everything that can be refused
    is refused before the model is asked. Raises `EffaceError` for a file, settings or a model that cannot be used, and
    where the model has nothing to say.
    """
    reporter = reporter or Silent()
    check_new_file(out)
    questions = load_questions(config.questions)
    warn(questions, reporter)
    opened = open_model(config.model, config.text, device=device_for(config.device), reporter=reporter)
    items = [each.item for each in questions.questions]
    reporter.stage(f"asking {config.model} {counted(len(items), 'question')}")
    words = own_words(opened, items, config.evaluate, reporter)
    said = answered(questions.questions, words, config.model)
    write_text(out, rows_with(said))
    silent = (item.question for item, text in zip(items, words, strict=True) if not text)
    return Answered(questions=len(items), blank=tuple(silent))


def own_words(opened: Opened, items: Sequence[Item], config: AskingConfig, reporter: Reporter) -> list[str]:
    """The model's greedy answer to each question, without white space around it; perhaps nothing.

    An answer that did not end in time ends behind its last whole sentence, if it has one. Raises `EffaceError` where
    a question leaves no room for an answer.
    """
    said = generate(
        opened.model,
        opened.formatter,
        [item.prompt for item in items],
        new_tokens=config.new_tokens,
        batch_tokens=config.batch_tokens,
        progress=lambda done: reporter.scored("answers", done, len(items)),
    )
    return [_whole(each, config.new_tokens) for each in said]


def answered(questions: Sequence[Question], words: Sequence[str], model: str) -> list[tuple[Question, str]]:
    """The questions to which the model said something, with that. Raises `EffaceError` where there is none."""
    said = [(question, text) for question, text in zip(questions, words, strict=True) if text]
    if not said:
        raise EffaceError(
            f"model {model} has nothing to say to any of the {len(questions):,} questions; set text.format as the "
            "model was trained, such as text.format=plain"
        )
    return said


def warn(questions: Questions, reporter: Reporter) -> None:
    """Say what the user should hear about a file of questions."""
    for text in questions.warnings:
        reporter.warning(text)


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


def _whole(said: Generation, new_tokens: int) -> str:
    text = said.text if len(said.token_ids) < new_tokens else up_to_last_sentence(said.text)
    return text.strip()
