"""Suggested questions: from the forget set, from the retain set, and about general knowledge. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from efface.data import load_task
from efface.data.config import DataConfig
from efface.data.sources.generic_questions import load_generic_questions
from efface.data.sources.known_facts import load_known_facts
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.schema import Prompt
from efface.scores.sets import MEMBERSHIP_SETS, is_to_forget
from efface.spacing import evenly_spaced

Group = Literal["forget", "retain", "general"]
_PER_GROUP = 8
_PER_GENERAL_SET = 2
_KNOWN_FACTS, _GENERIC_QUESTIONS = 5, 3
_GENERAL_SETS = ("real_authors", "world_facts")


@dataclass(frozen=True)
class SuggestedQuestion:
    """A question that the user can choose."""

    group: Group
    prompt: Prompt
    answer: str | None
    """The reference answer, where there is one."""


def suggested_questions(data: DataConfig, records: Path, data_dir: Path | None) -> tuple[SuggestedQuestion, ...]:
    """Choose a few questions of each group.

    Args:
        data: The data settings of the run.
        records: Folder of the run's records, which replace data that is no longer available; need not exist.
        data_dir: Folder with benchmark data, or None for the default.

    Returns:
        Questions of the forget set, the retain set and about general knowledge, in this order; no question twice.
    """
    by_set: dict[str, list[SuggestedQuestion]] = {}
    for name, each in [*_from_data(data, data_dir), *_from_records(records)]:
        by_set.setdefault(name, []).append(each)
    groups: dict[Group, list[SuggestedQuestion]] = {"forget": [], "retain": [], "general": []}
    for name, questions in by_set.items():
        count = _PER_GENERAL_SET if name in _GENERAL_SETS else _PER_GROUP
        groups[_group(name)] += evenly_spaced(_unique(questions), count)
    chosen = [*evenly_spaced(groups["forget"], _PER_GROUP), *evenly_spaced(groups["retain"], _PER_GROUP)]
    in_run = {each.prompt.question for questions in by_set.values() for each in questions}
    return (*chosen, *groups["general"], *_general_knowledge(in_run))


def _from_data(data: DataConfig, data_dir: Path | None) -> Iterable[tuple[str, SuggestedQuestion]]:
    """(set name, question) for every question that the run scores; nothing if the data is no longer available."""
    try:
        task = load_task(data, data_dir=data_dir)
    except (EffaceError, OSError):
        return
    for each in task.evaluation:
        for item in () if each.name in MEMBERSHIP_SETS else each.items:
            yield each.name, SuggestedQuestion(_group(each.name), item.prompt, item.scored_answer)


def _from_records(folder: Path) -> Iterable[tuple[str, SuggestedQuestion]]:
    """(set name, question) for every record; a record does not contain earlier turns of its prompt."""
    if not any(folder.glob("*.jsonl")):
        return
    for name, records in read_record_sets(folder).items():
        for record in () if name in MEMBERSHIP_SETS else records:
            if record.question.strip():
                yield name, SuggestedQuestion(_group(name), Prompt(record.question), record.answer)


def _general_knowledge(excluded: Set[str]) -> list[SuggestedQuestion]:
    """Questions that come with efface, except those that the run has."""
    facts = [each.item for each in load_known_facts().questions if each.item.question not in excluded]
    generic = [each.question for each in load_generic_questions() if each.question not in excluded]
    return [
        *(SuggestedQuestion("general", item.prompt, item.answer) for item in evenly_spaced(facts, _KNOWN_FACTS)),
        *(SuggestedQuestion("general", Prompt(each), None) for each in evenly_spaced(generic, _GENERIC_QUESTIONS)),
    ]


def _group(set_name: str) -> Group:
    if is_to_forget(set_name):
        return "forget"
    return "general" if set_name in _GENERAL_SETS else "retain"


def _unique(questions: Iterable[SuggestedQuestion]) -> list[SuggestedQuestion]:
    """The first of several with the same text: those from the data precede those from records."""
    first: dict[str, SuggestedQuestion] = {}
    for each in questions:
        first.setdefault(each.prompt.question, each)
    return list(first.values())
