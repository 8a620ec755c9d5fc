"""Questions to begin with: what was to be forgotten, what was to be kept, and what lies beyond both. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from efface.data import load_task
from efface.data.config import DataConfig
from efface.data.sources.generic_questions import load_generic_questions
from efface.data.sources.known_facts import load_known_facts
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.schema import Prompt
from efface.spacing import evenly_spaced

Group = Literal["forget", "retain", "beyond"]
_OF_EACH = 8
_FACTS, _GENERIC = 5, 3
_BEYOND = ("real_authors", "world_facts")
T = TypeVar("T")


@dataclass(frozen=True)
class SuggestedQuestion:
    """A question that is offered."""

    group: Group
    prompt: Prompt
    answer: str | None
    """The right one, where it is known."""


def suggested_questions(data: DataConfig, records: Path, data_dir: Path | None) -> tuple[SuggestedQuestion, ...]:
    """A few questions of each group: from the data, or where that cannot be had, from the records in a folder."""
    found: dict[str, list[SuggestedQuestion]] = {}
    for name, each in [*_scored(data, data_dir), *_recorded(records)]:
        found.setdefault(name, []).append(each)
    groups: dict[Group, list[SuggestedQuestion]] = {"forget": [], "retain": [], "beyond": []}
    for name, presets in found.items():
        groups[_group(name)] += evenly_spaced(_once(presets), _OF_EACH if name not in _BEYOND else _OF_EACH // 4)
    offered = [*evenly_spaced(groups["forget"], _OF_EACH), *evenly_spaced(groups["retain"], _OF_EACH)]
    known = {each.prompt.question for presets in found.values() for each in presets}
    return (*offered, *groups["beyond"], *_all_sources(known))


def _scored(data: DataConfig, data_dir: Path | None) -> Iterable[tuple[str, SuggestedQuestion]]:
    """Every question that the run scores, with its set's name; none where the data cannot be had any more."""
    try:
        task = load_task(data, data_dir=data_dir)
    except (EffaceError, OSError):
        return
    for each in task.evaluation:
        for item in each.items:
            yield each.name, SuggestedQuestion(_group(each.name), item.prompt, item.scored_answer)


def _recorded(folder: Path) -> Iterable[tuple[str, SuggestedQuestion]]:
    """Every question that was asked; a record does not tell what was said before it."""
    if not any(folder.glob("*.jsonl")):
        return
    for name, records in read_record_sets(folder).items():
        for record in records:
            if record.question.strip():
                yield name, SuggestedQuestion(_group(name), Prompt(record.question), record.answer)


def _all_sources(known: Set[str]) -> list[SuggestedQuestion]:
    """Of the questions that come with efface, but those that the run knows."""
    facts = [each.item for each in load_known_facts().questions if each.item.question not in known]
    generic = [each.question for each in load_generic_questions() if each.question not in known]
    return [
        *(SuggestedQuestion("beyond", item.prompt, item.answer) for item in evenly_spaced(facts, _FACTS)),
        *(SuggestedQuestion("beyond", Prompt(question), None) for question in evenly_spaced(generic, _GENERIC)),
    ]


def _group(name: str) -> Group:
    if name == "forget" or name.startswith("forgotten-"):
        return "forget"
    return "beyond" if name in _BEYOND else "retain"


def _once(presets: Iterable[SuggestedQuestion]) -> list[SuggestedQuestion]:
    """Each question the first time: the data's comes before the record's."""
    first: dict[str, SuggestedQuestion] = {}
    for each in presets:
        first.setdefault(each.prompt.question, each)
    return list(first.values())
