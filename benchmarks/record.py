"""Append measurements to results.csv, one number per row: `record.py < report.json` for a report of another machine."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from efface.run.metadata.commit import source_commit

RESULTS = Path(__file__).with_name("results.csv")
_UNITS = {"seconds": "s", "peak_bytes": "bytes", "tokens": "tokens", "forwards": "forwards", "loss": "nats"}


def record(report: Mapping[str, Any], results: Path = RESULTS) -> None:
    """Append the numbers of one report of step_cost.py or kl_reference.py."""
    rows = [[what, value, unit, *_origin(report)] for what, value, unit in _numbers(report)]
    with results.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _numbers(report: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    setting = [report["shape"], report["method"], report["dtype"], report["optimizer"]]
    setting += ["checkpointing"] if report["checkpointing"] else []
    setting += [f"kernels {report['kernels']}"] if report.get("kernels", "torch") != "torch" else []
    name = f"{report.get('what', 'step cost')} {' '.join(setting)}"
    numbers = [
        (f"{name}: {contender} {key}", report[contender][key], unit)
        for contender in report.get("contenders", ("packed", "padded"))
        for key, unit in _UNITS.items()
        if key in report[contender]
    ]
    return [*numbers, (f"{name}: speedup", report["speedup"], "x")] if report.get("speedup") else numbers


def _origin(report: Mapping[str, Any]) -> list[str]:
    """Device, torch version, commit, date."""
    return [report["device"], report["versions"]["torch"], commit(), datetime.now(UTC).date().isoformat()]


def commit() -> str:
    """The commit that is checked out, with `-dirty` for uncommitted changes."""
    return source_commit() or "unknown"


if __name__ == "__main__":
    record(json.load(sys.stdin))
