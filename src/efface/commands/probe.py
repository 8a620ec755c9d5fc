"""`efface data probe`: find what a model really knows, as data for the real-world scenario."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from efface import __version__
from efface.atomic import atomic_folder
from efface.commands.answers import check_writable, generate_answers, warn
from efface.commands.probe_report import Report, by_kind, contains_fact, count, outcome, split, too_few
from efface.config.commands import ProbeConfig
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
from efface.evaluation.encode import check_position_limit, encode_questions
from efface.evaluation.likelihoods import Likelihoods, likelihoods
from efface.hardware.device import device_for
from efface.models.open import OpenedModel, open_model
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.report.number_format import pluralize
from efface.schema import Item

_TRAINED = ("name", "question", "answer", "golden_answer", "key_fact")
"""Columns of what is only trained on, as the real-world people have them; the other files have all."""
_PART = 64
"""So many questions are weighed before progress is told: a few forwards."""
_NEEDED: dict[str, tuple[str, Callable[[Item], object]]] = {
    "name": ("whom or what a question is about", lambda item: item.entity),
    "key_fact": ("the part that any right answer contains", lambda item: item.key_fact),
    "perturbed_answers": ("a list of wrong answers", lambda item: item.perturbed_answers),
}


@dataclass(frozen=True)
class Probe:
    """What a model said to every question."""

    questions: tuple[FileQuestion, ...]
    report: Report
    """Its outcomes are in the order of the questions."""


@quiet_libraries()
def probe(config: ProbeConfig, *, reporter: Reporter | None = None) -> Probe:
    """Ask a model every question, and weigh its right answer against the wrong ones; writes nothing.

    Raises `EffaceError` for a file, settings or a model that cannot be used.
    """
    reporter = reporter or SilentReporter()
    asked = load_known_facts() if config.questions is None else load_questions(config.questions)
    _check_columns(asked)
    _check_questions(asked)
    warn(asked, reporter)
    opened = open_model(config.model, config.text, device=device_for(config.device), reporter=reporter)
    items = [each.item for each in asked.questions]
    prompts = opened.formatter.encode_prompts([item.prompt for item in items])
    check_position_limit(opened.model, prompts, config.evaluate.max_new_tokens)
    reporter.on_stage(f"asking {config.model} {pluralize(len(items), 'question')}")
    believed = _likelihoods(opened, items, config.evaluate.max_tokens_per_forward, reporter)
    words = generate_answers(opened, items, config.evaluate, reporter)
    outcomes = [outcome(*each) for each in zip(asked.questions, words, believed, strict=True)]
    report = Report(
        efface=__version__,
        model=config.model,
        model_sha256=opened.sha256,
        questions=asked.source,
        questions_sha256=asked.sha256,
        settings=config.model_dump(mode="json"),
        total=count(outcomes),
        kinds={kind: count(each) for kind, each in by_kind(outcomes).items()},
        split=split(outcomes, config.seed),
        outcomes=outcomes,
    )
    return Probe(asked.questions, report)


def write_probe(found: Probe, out: Path) -> None:
    """Write the folder `out`: the report as probe.json, and real_world/ in the form of the real-world people.

    Everything appears at once or not at all. Raises `EffaceError` where something is there already, and where the model
    knows too few entities for the three sets.
    """
    check_new_folder(out)
    report = found.report
    if report.split is None:
        raise too_few(report)
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
    with atomic_folder(out) as beside:
        (beside / "real_world").mkdir(parents=True)
        for name, text in files.items():
            (beside / "real_world" / f"{name}.json").write_text(text, encoding="utf-8")
        (beside / "probe.json").write_text(to_json_text(report) + "\n", encoding="utf-8")


def to_json_text(report: Report) -> str:
    """The report as it is written to probe.json."""
    return json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False)


def check_new_folder(out: Path) -> None:
    """Check that the folder `out` may be made. Raises `EffaceError` where something is there already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EffaceError(f"--out {out} is already there and not an empty folder; choose another")
    check_writable(out)


def _likelihoods(
    opened: OpenedModel, items: Sequence[Item], max_tokens_per_forward: int, reporter: Reporter
) -> list[Likelihoods]:
    """How likely the model holds right and wrong answers, a part of the questions after the other."""
    weighed = [item.model_copy(update={"paraphrased_answer": None}) for item in items]
    questions = encode_questions(opened.formatter, weighed)  # refuses what is too long before the first forward pass
    believed: list[Likelihoods] = []
    reporter.on_progress("likelihoods", 0, len(items))
    for start in range(0, len(items), _PART):
        part = questions[start : start + _PART]
        believed += likelihoods(opened.model, part, max_tokens_per_forward=max_tokens_per_forward)
        reporter.on_progress("likelihoods", len(believed), len(items))
    return believed


def _check_columns(asked: QuestionFile) -> None:
    """Raise `EffaceError` where a question lacks what it takes to say whether the model knows the answer."""
    for column, (what, value) in _NEEDED.items():
        lacking = [each.item for each in asked.questions if not value(each.item)]
        if lacking:
            raise EffaceError(
                f"{asked.source}: {pluralize(len(lacking), 'question')} without {column} (first: "
                f"{lacking[0].question!r}); add the column, {what}, or name yours as {QUESTIONS_SETTING}.columns.{column}=NAME"
            )


def _check_questions(asked: QuestionFile) -> None:
    """Raise `EffaceError` for what would prove nothing, or what the scenario's files cannot hold."""
    about: dict[str, Item] = {}
    for item in (each.item for each in asked.questions):
        if item.history:
            raise EffaceError(
                f"{asked.source}: something is said before the question {item.question!r}, and the real-world scenario "
                "has questions alone; remove the system prompt and earlier messages"
            )
        if item.key_fact and contains_fact(item.question, item.key_fact):
            raise EffaceError(
                f"{asked.source}: the question {item.question!r} holds its own key fact {item.key_fact!r}, so that an "
                "echo of it would pass; ask in other words, or remove the row"
            )
        first = about.setdefault(normalize(item.question), item)
        if first.entity != item.entity:
            raise EffaceError(
                f"{asked.source}: the question {item.question!r} is about {first.entity!r} and about {item.entity!r}, "
                "so that it could be both forgotten and kept; give it one name"
            )
