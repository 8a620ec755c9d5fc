"""Convert eval logs of other code to metric inputs: `eval_log_aggregated.json` of TOFU and of the closer-look paper.

A log has one block per set, and a block has one column per quantity: an object keyed by the question's index (TOFU)
or a list (the paper's code, which adds `cosine_similarity`, `token_entropy` and `entailment_labels`).
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from efface.errors import EffaceError, suggest
from efface.scores.inputs.metric_inputs import LOWEST_LOGP, ROUNDING, MetricInputs, check_range

T = TypeVar("T")

SETS = {
    "eval_log.json": "retain",
    "eval_real_author_wo_options.json": "real_authors",
    "eval_real_world_wo_options.json": "world_facts",
    "eval_log_forget.json": "forget",
}
"""Name of a block in the log -> name of the set; `eval_log.json` of the paper's real-world runs has the neighbors."""

_REMEDY = "give an eval_log_aggregated.json as TOFU writes it"


def read_sets(log: Mapping[str, Any], path: Path) -> dict[str, list[MetricInputs]]:
    """Convert a log.

    Args:
        log: The parsed file.
        path: The file, for messages.

    Returns:
        Set name -> metric inputs of its questions, in the order of their indices.

    Raises:
        EffaceError: When the file is not such a log; the message names file, set, column and question.
    """
    for name, block in log.items():
        if name not in SETS:
            raise EffaceError(f"{path}: {name!r} is not a set of a TOFU eval log; {suggest(name, SETS)}")
        if not isinstance(block, dict):
            raise EffaceError(f"{path}, {name}: a set is an object of columns, not {reprlib.repr(block)}; {_REMEDY}")
    return {SETS[name]: _set_inputs(block, f"{path}, {name}") for name, block in log.items()}


def _set_inputs(block: dict[str, Any], where: str) -> list[MetricInputs]:
    columns: dict[str, dict[int, Any]] = {
        name: _column(block[name], read, f"{where}, {name}") for name, read in COLUMNS.items() if name in block
    }
    if not columns:
        raise EffaceError(f"{where}: it has none of the columns {', '.join(COLUMNS)}; {_REMEDY}")
    first, indices = next((name, set(column)) for name, column in columns.items())
    if not indices:
        raise EffaceError(f"{where}: the set has no questions; remove it, or write the log again")
    for name, column in columns.items():
        if set(column) != indices:
            raise EffaceError(
                f"{where}: {name} has {len(column)} questions and {first} {len(indices)}, or not the same "
                "indices; write the log again"
            )
    inputs = []
    for index in sorted(indices):
        row = {name: column[index] for name, column in columns.items()}
        try:
            inputs.append(_inputs(index, row))
        except ValueError as error:
            raise EffaceError(f"{where}, question {index}: {error}; write the log again") from error
    return inputs


def _inputs(index: int, row: dict[str, Any]) -> MetricInputs:
    output, answer = row.get("generated_text", (None, None))
    return MetricInputs(
        id=str(index),
        output=output,
        answer=answer,
        logged_rouge=row.get("rougeL_recall"),
        answer_logp=row.get("avg_gt_loss"),
        paraphrase_logp=row.get("avg_paraphrased_loss"),
        perturbed_logps=row.get("average_perturb_loss", ()),
        retokenized_entropy=row.get("token_entropy"),
        cosine_answer=row.get("cosine_similarity"),
        label=row.get("entailment_labels"),
    )


def _column(raw: object, read: Callable[[object], T], where: str) -> dict[int, T]:
    """Index -> entry, from an object keyed by index or from a list."""
    if not isinstance(raw, dict | list):
        raise EffaceError(
            f"{where}: a column is a list or an object keyed by index, not {reprlib.repr(raw)}; {_REMEDY}"
        )
    column: dict[int, T] = {}
    for key, entry in raw.items() if isinstance(raw, dict) else enumerate(raw):
        try:
            index = int(key)
        except ValueError as error:
            raise EffaceError(f"{where}: {key!r} is not the index of a question; use whole numbers as keys") from error
        if index in column:
            raise EffaceError(f"{where}: question {index} is repeated; keep one entry for each")
        try:
            column[index] = read(entry)
        except ValueError as error:
            raise EffaceError(f"{where}, question {index}: {error}; write the log again") from error
    return column


def _number(entry: object) -> float:
    if isinstance(entry, bool) or not isinstance(entry, int | float):
        raise ValueError(f"a number is expected, not {reprlib.repr(entry)}")
    try:
        number = float(entry)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"a finite number is expected, not {number}")
    return number


def _logp(loss: object) -> float:
    """Logs have losses: negative mean log-probabilities."""
    number = _number(loss)
    check_range("a loss", number, -ROUNDING, -LOWEST_LOGP)
    return -number


def _logps(losses: object) -> tuple[float, ...]:
    if not isinstance(losses, list):
        raise ValueError(f"a list of losses, one for each wrong answer, is expected, not {reprlib.repr(losses)}")
    return tuple(_logp(loss) for loss in losses)


def _texts(entry: object) -> tuple[str, str]:
    """Output and answer of [prompt, output, answer] or [prompt, output, answer, embedding target]."""
    if not isinstance(entry, list) or len(entry) not in (3, 4) or not all(isinstance(text, str) for text in entry):
        raise ValueError(f"a list of 3 or 4 texts (prompt, output, answer) is expected, not {reprlib.repr(entry)}")
    return entry[1], entry[2]


def _label(entry: object) -> str:
    if not isinstance(entry, str):
        raise ValueError(f"an entailment label is a text, not {reprlib.repr(entry)}")
    return entry.strip().lower()


COLUMNS: dict[str, Callable[[object], Any]] = {
    "generated_text": _texts,
    "rougeL_recall": _number,
    "avg_gt_loss": _logp,
    "avg_paraphrased_loss": _logp,
    "average_perturb_loss": _logps,
    "token_entropy": _number,
    "cosine_similarity": _number,
    "entailment_labels": _label,
}
"""Columns that scores are computed from, and how an entry is read; a log may have others."""
