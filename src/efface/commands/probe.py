"""`efface data probe`: find which facts a model knows, as data for the real-world scenario."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from efface import __version__
from efface.commands.answers import generate_answers, report_warnings
from efface.commands.probe_report import (
    Report,
    by_kind,
    count,
    judge_knowledge,
    split_entities,
    too_few_error,
)
from efface.config.data_commands import ProbeConfig
from efface.data.question_files import (
    QUESTIONS_SETTING,
    FileQuestion,
    QuestionFile,
    answers_to_json_lines,
    load_questions,
)
from efface.data.sources.known_facts import load_known_facts
from efface.data.task_checks import normalize
from efface.errors import EffaceError
from efface.evaluation.encode import check_position_limit, encode_questions, warn_about_merged
from efface.evaluation.judging.key_fact_judge import contains_fact
from efface.evaluation.likelihoods import Likelihoods, likelihoods
from efface.files.atomic import atomic_folder
from efface.files.folder_lock import check_writable
from efface.hardware.device import device_for
from efface.models.open import OpenedModel, open_model
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.report.number_format import pluralize
from efface.schema import Item

_TRAINED = ("name", "question", "answer", "golden_answer", "key_fact")
"""Columns of files that are only trained on, as in the real-world benchmark; the other files have all."""
_CHUNK = 64
"""Questions between two progress reports: a few forward passes."""
_REQUIRED: dict[str, tuple[str, Callable[[Item], object]]] = {
    "name": ("the person or thing that a question is about", lambda item: item.entity),
    "key_fact": ("the part that every correct answer contains", lambda item: item.key_fact),
    "perturbed_answers": ("a list of wrong answers", lambda item: item.perturbed_answers),
}


@dataclass(frozen=True)
class Probe:
    """A model's answers to every question, judged."""

    questions: tuple[FileQuestion, ...]
    report: Report
    """With outcomes in the order of the questions."""


@quiet_libraries()
def probe(config: ProbeConfig, *, reporter: Reporter | None = None) -> Probe:
    """Ask a model every question, and compare the likelihoods of correct and wrong answers; writes nothing.

    Args:
        config: The questions, the model and settings of generation.
        reporter: Gets stages, progress and warnings.

    Raises:
        EffaceError: The file, settings or the model cannot be used.
    """
    reporter = reporter or SilentReporter()
    file = load_known_facts() if config.questions is None else load_questions(config.questions)
    _check_columns(file)
    _check_questions(file)
    report_warnings(file, reporter)
    opened = open_model(
        config.model, config.text, tokenizer=config.tokenizer, device=device_for(config.device), reporter=reporter
    )
    items = [each.item for each in file.questions]
    prompts = opened.formatter.encode_prompts([item.prompt for item in items])
    check_position_limit(opened.model, prompts, config.evaluate.max_new_tokens)
    reporter.on_stage(f"asking {config.model} {pluralize(len(items), 'question')}")
    likelihoods_of = _likelihoods(opened, items, config.evaluate.max_tokens_per_forward, reporter)
    answers = generate_answers(opened, items, config.evaluate, reporter)
    outcomes = [judge_knowledge(*each) for each in zip(file.questions, answers, likelihoods_of, strict=True)]
    report = Report(
        efface=__version__,
        model=config.model,
        model_sha256=opened.sha256,
        tokenizer_sha256=None if opened.named_tokenizer is None else opened.named_tokenizer.sha256,
        questions=file.source,
        questions_sha256=file.sha256,
        settings=config.model_dump(mode="json"),
        total=count(outcomes),
        kinds={kind: count(each) for kind, each in by_kind(outcomes).items()},
        split=split_entities(outcomes, config.seed),
        outcomes=outcomes,
    )
    return Probe(file.questions, report)


def write_probe(found: Probe, out: Path) -> None:
    """Write a folder atomically: the report as probe.json, and data files as in the real-world benchmark.

    Args:
        found: What `probe` returned.
        out: The folder, new or empty.

    Raises:
        EffaceError: The folder is not empty or cannot be written, or the model knows too few entities for the three
            sets.
    """
    check_new_folder(out)
    report = found.report
    if report.split is None:
        raise too_few_error(report)
    known = [
        (question, each.answer) for question, each in zip(found.questions, report.outcomes, strict=True) if each.known
    ]

    def about(names: Sequence[str]) -> list[tuple[FileQuestion, str]]:
        return [(question, answer) for question, answer in known if question.item.entity in names]

    forget, neighbor, scored = map(about, (report.split.forget, report.split.neighbor, report.split.neighbor_perturbed))
    files = {
        "forget": answers_to_json_lines(forget, _TRAINED),
        "forget_perturbed": answers_to_json_lines(forget),
        "neighbor": answers_to_json_lines(neighbor, _TRAINED),
        "neighbor_perturbed": answers_to_json_lines(scored),
    }
    with atomic_folder(out) as partial:
        (partial / "real_world").mkdir(parents=True)
        for name, text in files.items():
            (partial / "real_world" / f"{name}.json").write_text(text, encoding="utf-8")
        (partial / "probe.json").write_text(to_json_text(report) + "\n", encoding="utf-8")


def to_json_text(report: Report) -> str:
    """The report as written to probe.json."""
    return json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False)


def check_new_folder(out: Path) -> None:
    """Check that a folder may be written.

    Args:
        out: The folder, new or empty.

    Raises:
        EffaceError: It is not empty or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EffaceError(f"--out {out} already exists and is not an empty folder; choose another")
    check_writable(out.parent)


def _likelihoods(
    opened: OpenedModel, items: Sequence[Item], max_tokens_per_forward: int, reporter: Reporter
) -> list[Likelihoods]:
    """Log-probabilities of correct and wrong answers, one chunk of questions after another."""
    scored = [item.model_copy(update={"paraphrased_answer": None}) for item in items]
    questions = encode_questions(opened.formatter, scored)  # refuse what is too long before the first forward pass
    warn_about_merged(questions, opened.formatter.config.boundary, reporter.on_warning)
    results: list[Likelihoods] = []
    reporter.on_progress("likelihoods", 0, len(items))
    for start in range(0, len(items), _CHUNK):
        chunk = questions[start : start + _CHUNK]
        results += likelihoods(opened.model, chunk, max_tokens_per_forward=max_tokens_per_forward)
        reporter.on_progress("likelihoods", len(results), len(items))
    return results


def _check_columns(file: QuestionFile) -> None:
    """Refuse questions without a column that decides whether the model knows the answer."""
    for column, (what, value) in _REQUIRED.items():
        without = [each.item for each in file.questions if not value(each.item)]
        if without:
            raise EffaceError(
                f"{file.source}: {pluralize(len(without), 'question')} without {column} (first: "
                f"{without[0].question!r}); add the column, {what}, or name yours as "
                f"{QUESTIONS_SETTING}.columns.{column}=NAME"
            )


def _check_questions(file: QuestionFile) -> None:
    """Refuse questions that prove nothing, or that the benchmark's files cannot represent."""
    by_question: dict[str, Item] = {}
    for item in (each.item for each in file.questions):
        if item.history:
            raise EffaceError(
                f"{file.source}: there are messages before the question {item.question!r}, and the real-world scenario "
                "has single questions; remove the system prompt and earlier messages"
            )
        if item.key_fact and contains_fact(item.question, item.key_fact):
            raise EffaceError(
                f"{file.source}: the question {item.question!r} contains its key fact {item.key_fact!r}, so that "
                "repeating it would pass; rephrase the question, or remove the row"
            )
        first = by_question.setdefault(normalize(item.question), item)
        if first.entity != item.entity:
            raise EffaceError(
                f"{file.source}: the question {item.question!r} is about {first.entity!r} and about {item.entity!r}, "
                "so that it could be in both forget and retain set; give it one name"
            )
