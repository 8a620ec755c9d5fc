"""`efface data answers`: a model's answers to questions, as a data file for a forget or retain set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efface.config.data_commands import AnswerGenerationConfig, AnswersConfig
from efface.data.question_files import FileQuestion, QuestionFile, answers_to_json_lines, load_questions
from efface.data.sources.generic_questions import truncate_to_sentence
from efface.errors import EffaceError
from efface.evaluation.generate import Generation, generate
from efface.files.atomic import write_text
from efface.files.folder_lock import check_writable, lock_output
from efface.hardware.device import device_for
from efface.models.open import OpenedModel, open_model
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.report.number_format import pluralize
from efface.schema import Item

_JSON_LINES = (".jsonl", ".ndjson", ".json")
"""Suffixes of files that efface reads as JSON lines."""


@dataclass(frozen=True)
class AnswersReport:
    """How many questions were answered."""

    questions: int
    blank: tuple[str, ...]
    """The questions without an answer, which were left out."""


@quiet_libraries()
def answer_questions(config: AnswersConfig, out: Path, *, reporter: Reporter | None = None) -> AnswersReport:
    """Ask a model every question of a file and write `out`: the same questions with the model's answers.

    Each line of JSON has the model's `answer`, the correct answer as `golden_answer`, and the other columns of the
    question's row, so that the file can be a forget or retain set and is scored by the correct answers. Everything that
    can be refused is refused before the model generates.

    Args:
        config: The questions, the model and settings of generation.
        out: A new file that ends in .jsonl.
        reporter: Gets stages, progress and warnings.

    Returns:
        How many questions there were, and which ones were left out.

    Raises:
        EffaceError: The file, settings or the model cannot be used, all answers are blank, or another process writes
            the file.
    """
    with lock_output(out):
        return _answer_questions(config, out, reporter or SilentReporter())


def _answer_questions(config: AnswersConfig, out: Path, reporter: Reporter) -> AnswersReport:
    check_new_file(out)
    questions = load_questions(config.questions)
    report_warnings(questions, reporter)
    opened = open_model(
        config.model, config.text, tokenizer=config.tokenizer, device=device_for(config.device), reporter=reporter
    )
    items = [each.item for each in questions.questions]
    reporter.on_stage(f"asking {config.model} {pluralize(len(items), 'question')}")
    answers = generate_answers(opened, items, config.evaluate, reporter)
    answered = non_blank_answers(questions.questions, answers, config.model)
    write_text(out, answers_to_json_lines(answered))
    blank = (item.question for item, answer in zip(items, answers, strict=True) if not answer)
    return AnswersReport(questions=len(items), blank=tuple(blank))


def generate_answers(
    opened: OpenedModel, items: Sequence[Item], config: AnswerGenerationConfig, reporter: Reporter
) -> list[str]:
    """The model's greedy answer to each question, without white space at its ends; it may be empty.

    An answer that did not end in time is cut after its last complete sentence, if it has one.

    Args:
        opened: The model.
        items: The questions.
        config: Limits of generation.
        reporter: Gets the progress.

    Raises:
        EffaceError: A question leaves no space for an answer.
    """
    generations = generate(
        opened.model,
        opened.formatter,
        [item.prompt for item in items],
        max_new_tokens=config.max_new_tokens,
        max_cache_tokens=config.max_cache_tokens,
        progress=lambda done: reporter.on_progress("answers", done, len(items)),
    )
    return [_complete_text(each, config.max_new_tokens) for each in generations]


def non_blank_answers(
    questions: Sequence[FileQuestion], answers: Sequence[str], model: str
) -> list[tuple[FileQuestion, str]]:
    """The questions that have an answer, with it.

    Args:
        questions: In order.
        answers: Of each question, perhaps empty.
        model: Its name, for the error message.

    Raises:
        EffaceError: All answers are empty.
    """
    answered = [(question, answer) for question, answer in zip(questions, answers, strict=True) if answer]
    if not answered:
        raise EffaceError(
            f"model {model} gives no answer to any of the {len(questions):,} questions; set text.format as the "
            "model was trained, such as text.format=plain"
        )
    return answered


def report_warnings(questions: QuestionFile, reporter: Reporter) -> None:
    """Report the warnings of a file of questions.

    Args:
        questions: The file as it was read.
        reporter: Gets each warning.
    """
    for text in questions.warnings:
        reporter.on_warning(text)


def check_new_file(out: Path) -> None:
    """Check that answers may be written to a file.

    Args:
        out: The file.

    Raises:
        EffaceError: The file exists, has another suffix, or cannot be written.
    """
    if out.exists():
        raise EffaceError(f"--out {out} already exists; remove it or choose another file")
    if out.suffix.lower() not in _JSON_LINES:
        raise EffaceError(f"--out {out}: answers are written as JSON lines; give a name that ends in .jsonl")
    check_writable(out.parent)


def _complete_text(generation: Generation, max_new_tokens: int) -> str:
    is_complete = len(generation.token_ids) < max_new_tokens
    text = generation.text if is_complete else truncate_to_sentence(generation.text)
    return text.strip()
