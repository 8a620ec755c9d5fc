"""The questions as the page's script gets them: safe, and of limited size. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from efface.report.page.escape import visible_controls
from efface.report.page.question_outcomes import MetricValues, QuestionOutcome
from efface.report.page.text_diff import text_diff

_MAX_CHARACTERS = 2_500_000
"""Of all texts of a page; longer texts are truncated until they fit."""
_LIMITS = (20_000, 5_000, 1_000, 300)


def text_limit(runs: Sequence[Sequence[QuestionOutcome]]) -> int | None:
    """Choose how many characters of a text the page contains.

    Args:
        runs: The questions of each run on the page.

    Returns:
        Maximum number of characters of one text; None for no limit.
    """
    lengths = [len(text) for outcomes in runs for each in outcomes for text in _texts(each)]
    if sum(lengths) <= _MAX_CHARACTERS:
        return None
    fitting = (limit for limit in _LIMITS if sum(min(length, limit) for length in lengths) <= _MAX_CHARACTERS)
    return next(fitting, _LIMITS[-1])


def explorer_data(outcomes: Sequence[QuestionOutcome], limit: int | None) -> list[list[object]]:
    """Make the data of the question explorer.

    Args:
        outcomes: The questions of a run, in the order of the data.
        limit: Maximum number of characters of one text; None for no limit.

    Returns:
        Per question, the highest priority first: set, id, question, reference answer, segments of the two outputs,
        scores before, scores after, verdict, position in the data.
    """
    order = sorted(range(len(outcomes)), key=lambda position: -outcomes[position].priority)
    return [_data(outcomes[position], position, limit) for position in order]


def _data(outcome: QuestionOutcome, position: int, limit: int | None) -> list[object]:
    return [
        outcome.set,
        visible_controls(outcome.id),
        _truncate(outcome.question, limit),
        _truncate(outcome.answer, limit),
        _segments(outcome, limit),
        _round(outcome.scores_before),
        _round(outcome.scores_after),
        outcome.verdict,
        position,
    ]


def _segments(outcome: QuestionOutcome, limit: int | None) -> object:
    """The differences of both outputs, or the only output."""
    outputs = (outcome.output_before, outcome.output_after)
    before, after = (None if text is None else _truncate(text, limit) for text in outputs)
    if before is not None and after is not None:
        return text_diff(before, after)
    side, text = (1, after or "") if before is None else (-1, before)
    return [(side, text.strip())] if text.strip() else []


def _truncate(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return visible_controls(text)
    return f"{visible_controls(text[:limit])} … [{len(text) - limit:,} more characters: see the run's records]"


def _texts(outcome: QuestionOutcome) -> list[str]:
    return [outcome.question, outcome.answer, outcome.output_before or "", outcome.output_after or ""]


def _round(scores: MetricValues | None) -> list[float | None] | None:
    return None if scores is None else [None if each is None else round(each, 3) for each in scores]
