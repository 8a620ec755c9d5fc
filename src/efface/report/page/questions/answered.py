"""Questions with a model's answers and their scores, from records that are read one at a time. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from efface.artifacts import METRICS, Scores
from efface.records import Record, stream_records
from efface.scores.definitions import definition as find_definition
from efface.scores.inputs.from_records import from_records
from efface.scores.inputs.metric_inputs import Missing
from efface.scores.score import score_sets
from efface.scores.set_scores import question_metrics
from efface.scores.sets import check_names
from efface.scores.verdict import JudgedAnswer, judge_answer

MetricValues: TypeAlias = tuple[float | None, ...]
"""The six metrics of a question, in the order of `METRICS`; None where one is missing."""


class Answered(NamedTuple):
    """A question as one model answered it; what a page does not show of its record is not kept."""

    id: str
    question: str
    answer: str
    """The reference answer."""
    output: str
    scores: MetricValues
    judged: JudgedAnswer


AnsweredSets: TypeAlias = Mapping[str, Sequence[Answered]]
"""Set name -> its questions, in the order of the records."""


def record_files(folder: Path) -> dict[str, Path]:
    """Find the records of a model.

    Args:
        folder: A folder of SET.jsonl files; need not exist.

    Returns:
        Set name -> file.

    Raises:
        EffaceError: A file is not that of an evaluation set.
    """
    files = {file.stem: file for file in sorted(folder.glob("*.jsonl"))}
    check_names(files, where=str(folder))
    return files


def read_answered(folder: Path, definition: str) -> AnsweredSets:
    """Read and score every question of a model.

    Args:
        folder: A folder of SET.jsonl files; need not exist.
        definition: Name of the score definition.

    Returns:
        The questions of each set.

    Raises:
        EffaceError: A file is empty or damaged, or is not that of an evaluation set.
    """
    rules = find_definition(definition)
    sets = {}
    for name, file in record_files(folder).items():
        read = _LastRecord(stream_records(file))
        rows = []
        for inputs in from_records(name, read, where=str(file)):
            metrics = question_metrics(inputs, set_name=name, definition=rules)
            values = tuple(None if isinstance(each := metrics[metric], Missing) else each for metric in METRICS)
            record = read.last
            rows.append(
                Answered(record.id, record.question, record.answer, record.output, values, judge_answer(inputs))
            )
        sets[name] = rows
    return sets


def judged_answers(rows: Iterable[Answered]) -> dict[str, JudgedAnswer]:
    """How the answers of one set were judged, by the question's id.

    Args:
        rows: The questions of the set.
    """
    return {each.id: each.judged for each in rows}


def score_folder(folder: Path, definition: str) -> Scores | None:
    """Score the records of a model.

    Args:
        folder: A folder of SET.jsonl files; need not exist.
        definition: Name of the score definition.

    Returns:
        The scores; None where there are no records.

    Raises:
        EffaceError: As `read_answered`.
    """
    files = record_files(folder)
    if not files:
        return None
    sets = {name: from_records(name, stream_records(file), where=str(file)) for name, file in files.items()}
    return score_sets(sets, find_definition(definition))


class _LastRecord:
    """An iterator that remembers the record that it gave last."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self.last: Record

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        self.last = next(self._records)
        return self.last
