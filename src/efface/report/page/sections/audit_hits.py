"""Answers that attacks brought back, to be read by a person: judges make mistakes. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.files.safe_read import parse_json, read_lines
from efface.files.sums import check_file
from efface.report.page.questions.question_outcomes import QuestionOutcome
from efface.scores.sets import FORGET
from efface.spacing import evenly_spaced

MOST = 10
"""How many are shown."""
_MOST_READ = 100_000
"""Rows that are read at most."""


@dataclass(frozen=True)
class HitToRead:
    """An output that counted as a fact that came back."""

    attack: str
    question: str
    answer: str
    output: str


def read_hits(file: Path, outcomes: Sequence[QuestionOutcome], attacks: Collection[str]) -> list[HitToRead]:
    """Choose evenly spaced hits, so that every attack with many of them is represented.

    Args:
        file: The run's audit/rows.jsonl; may have been purged.
        outcomes: Questions and answers of the run.
        attacks: Those of the results; the file may have rows of others.

    Returns:
        At most `MOST`.

    Raises:
        EffaceError: The file is not what the audit wrote, or damaged.
    """
    if not file.is_file():
        return []
    check_file(file)
    asked = {each.id: each for each in outcomes if each.set == FORGET}
    found = [row for row in _rows(file) if row.get("model") == "after" and row.get("hit") is True]
    readable = [row for row in found if row.get("fact") in asked and row.get("attack") in attacks]
    return [
        HitToRead(
            attack=f"{row.get('attack')}, {row.get('variant')}",
            question=asked[row["fact"]].question,
            answer=asked[row["fact"]].answer,
            output=str(row.get("output", "")),
        )
        for row in evenly_spaced(readable, MOST)
    ]


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        for number, line in enumerate(read_lines(file), 1):
            if number > _MOST_READ:
                return
            row = parse_json(line)
            if isinstance(row, dict) and isinstance(row.get("fact"), str):
                yield row
    except (OSError, ValueError) as error:
        raise EffaceError(f"{file} is damaged; audit the run again") from error
