"""Questions as the page's script gets them: short, harmless, and not too many characters. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from efface.report.page.question_rows import QuestionRow, Values
from efface.report.page.sanitize import clean, differences

_MOST_CHARACTERS = 2_500_000
"""Of all texts of a page together: longer ones are cut until they fit."""
_LIMITS = (20_000, 5_000, 1_000, 300)


def longest(runs: Sequence[Sequence[QuestionRow]]) -> int | None:
    """How many characters of a text the page holds; None for all."""
    lengths = [len(text) for rows in runs for row in rows for text in _texts(row)]
    if sum(lengths) <= _MOST_CHARACTERS:
        return None
    fitting = (limit for limit in _LIMITS if sum(min(length, limit) for length in lengths) <= _MOST_CHARACTERS)
    return next(fitting, _LIMITS[-1])


def as_data(rows: Sequence[QuestionRow], limit: int | None) -> list[list[object]]:
    """What matters most first: set, id, question, answer, differences, scores before and after, verdict, place."""
    order = sorted(range(len(rows)), key=lambda place: -rows[place].weight)
    return [_data(rows[place], place, limit) for place in order]


def _data(row: QuestionRow, place: int, limit: int | None) -> list[object]:
    return [
        row.set,
        clean(row.id),
        _cut(row.question, limit),
        _cut(row.answer, limit),
        _said(row, limit),
        _rounded(row.before_scores),
        _rounded(row.after_scores),
        row.verdict,
        place,
    ]


def _said(row: QuestionRow, limit: int | None) -> object:
    """The differences of both outputs, or of the only one."""
    before, after = (None if text is None else _cut(text, limit) for text in (row.before, row.after))
    if before is not None and after is not None:
        return differences(before, after)
    side, text = (1, after or "") if before is None else (-1, before)
    return [(side, text.strip())] if text.strip() else []


def _cut(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return clean(text)
    return f"{clean(text[:limit])} … [{len(text) - limit:,} more characters: see the run's records]"


def _texts(row: QuestionRow) -> list[str]:
    return [row.question, row.answer, row.before or "", row.after or ""]


def _rounded(scores: Values | None) -> list[float | None] | None:
    return None if scores is None else [None if each is None else round(each, 3) for each in scores]
