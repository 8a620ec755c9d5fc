"""Read the eval logs of other code, by what is in the file: TOFU's, the closer-look paper's, or open-unlearning's."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.files.safe_read import read_json
from efface.scores.inputs import from_open_unlearning, from_tofu_log
from efface.scores.inputs.metric_inputs import MetricInputs

_REMEDY = "give an eval_log_aggregated.json as TOFU writes it, or a TOFU_EVAL.json of open-unlearning"


def read_log(path: Path) -> dict[str, list[MetricInputs]]:
    """Read all sets of one log.

    Args:
        path: The log.

    Returns:
        Set name -> metric inputs of its questions, in the order of their indices.

    Raises:
        EffaceError: The file is no such log, or has aggregates alone; the message names file, key and question.
    """
    log = parse_log(path)
    if from_open_unlearning.is_summary(log):
        raise EffaceError(
            f"{path}: a summary of open-unlearning has no questions; give the file that it summarizes, whose name ends "
            "in _EVAL.json"
        )
    if from_open_unlearning.is_eval(log):
        return from_open_unlearning.read_sets(log, path)
    return from_tofu_log.read_sets(log, path)


def logged_aggregates(path: Path) -> dict[str, float | None] | None:
    """The aggregates that a log of open-unlearning has; None of other logs.

    Raises:
        EffaceError: The file is no log, or a metric is unknown.
    """
    log = parse_log(path)
    if from_open_unlearning.is_summary(log) or from_open_unlearning.is_eval(log):
        return from_open_unlearning.aggregates(log, path)
    return None


def is_summary(path: Path) -> bool:
    """Whether a file has the aggregates of open-unlearning alone.

    Raises:
        EffaceError: The file cannot be read, or is no log.
    """
    return from_open_unlearning.is_summary(parse_log(path))


def parse_log(path: Path) -> dict[str, Any]:
    """Parse a log.

    Raises:
        EffaceError: The file cannot be read, is no JSON or no object with entries.
    """
    try:
        log = read_json(path)
    except OSError as error:
        raise EffaceError(f"cannot read {path}: {error.strerror or error}; give a file that can be read") from error
    except ValueError as error:
        raise EffaceError(f"{path} is not a JSON file ({error}); {_REMEDY}, or a run's folder") from error
    if not isinstance(log, dict) or not log:
        raise EffaceError(f"{path}: a log is an object with at least one set, not {reprlib.repr(log)}; {_REMEDY}")
    return log
