"""The questions as the page's script gets them: safe, compressed in blocks, and of limited size. No torch."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

from efface.report.page.escape import visible_controls
from efface.report.page.questions.question_outcomes import QuestionOutcome

_ROWS_PER_BLOCK = 500
"""A browser decompresses this many rows at once: a few milliseconds."""
_LEVEL = 4
"""Of compression: 6 takes twice as long and saves 4 %."""
_MAX_CHARACTERS = 30_000_000
"""Of all texts of a page, at most about 12 MB in the file; longer texts are truncated until they fit."""
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


def explorer_data(outcomes: Sequence[QuestionOutcome], limit: int | None) -> dict[str, object]:
    """Make the data of the question explorer.

    Args:
        outcomes: The questions of a run, in the order of the data.
        limit: Maximum number of characters of one text; None for no limit.

    Returns:
        `count`, `rowsPerBlock`, and compressed: `index`, with the `set`, the `verdict` and the position in the data
        (`order`) of every row, and `blocks` of rows, the highest priority first: id, question, reference answer,
        outputs before and after, scores before and after.
    """
    order = sorted(range(len(outcomes)), key=lambda position: -outcomes[position].priority)
    rows = [outcomes[position] for position in order]
    index = {"order": order, "set": [each.set for each in rows], "verdict": [each.verdict for each in rows]}
    return {
        "count": len(rows),
        "rowsPerBlock": _ROWS_PER_BLOCK,
        "index": compress(index),
        "blocks": [
            compress([_row(each, limit) for each in rows[start : start + _ROWS_PER_BLOCK]])
            for start in range(0, len(rows), _ROWS_PER_BLOCK)
        ],
    }


def compress(value: object) -> str:
    """Serialize and compress data for the page's script.

    Args:
        value: Anything that JSON can express; its texts have no unpaired surrogate.

    Returns:
        JSON, compressed in zlib's format ("deflate" in a browser's DecompressionStream), in base64.

    Raises:
        ValueError: `value` contains NaN or an infinity.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), _LEVEL)).decode()


def _row(outcome: QuestionOutcome, limit: int | None) -> list[object]:
    return [
        visible_controls(outcome.id),
        *(None if text is None else _truncate(text, limit) for text in _shown(outcome)),
        _round(outcome.scores_before),
        _round(outcome.scores_after),
    ]


def _truncate(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return visible_controls(text)
    return f"{visible_controls(text[:limit])} … [{len(text) - limit:,} more characters: see the run's records]"


def _texts(outcome: QuestionOutcome) -> list[str]:
    return [text for text in _shown(outcome) if text is not None]


def _shown(outcome: QuestionOutcome) -> tuple[str | None, ...]:
    return outcome.question, outcome.answer, outcome.output_before, outcome.output_after


def _round(scores: Sequence[float | None] | None) -> list[float | None] | None:
    return None if scores is None else [None if each is None else round(each, 3) for each in scores]
