#!/usr/bin/env python3
"""The cost of `efface score` on stored records, or of `efface report` on a stored run: of the whole command.

python benchmarks/scoring.py
python benchmarks/scoring.py --report --counts 50000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from machine import describe_machine

COUNTS = (1000, 10_000, 50_000)
_FOLDER = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    report: dict[str, Any] = {"machine": describe_machine("cpu"), "repeats": options.repeats, "rows": []}
    for count in options.counts:
        with tempfile.TemporaryDirectory(prefix="efface-records-") as folder:
            report["text"] = _write(folder, count, run=options.report)
            report["rows"].append(_measured(Path(folder), count, options.repeats, report=options.report))
        if not options.json:
            print(_as_text(report["rows"][-1]), flush=True)
    if options.json:
        print(json.dumps(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="efface report on a run, not efface score on records")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="questions (default 1000 10000 50000)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of each, of which the median is reported (default 3)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _write(folder: str, count: int, *, run: bool) -> str:
    """Write in a new process: a process starts with the peak memory of its parent, so this one must stay small."""
    arguments = ["--run", folder, str(count)] if run else [folder, str(count)]
    command = [sys.executable, str(_FOLDER / "stored_records.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _measured(folder: Path, count: int, repeats: int, *, report: bool) -> dict[str, Any]:
    sizes = {"file_bytes": sum(file.stat().st_size for file in folder.rglob("*.jsonl"))}
    command = ["report", str(folder)] if report else ["score", str(folder), "--json"]
    runs = [_run_efface(command) for _ in range(repeats)]
    if report:
        sizes["page_bytes"] = (folder / "report.html").stat().st_size
    return {
        "records": count,
        **sizes,
        "seconds": median(run[0] for run in runs),
        "cpu_seconds": median(run[1] for run in runs),
        "peak_bytes": max(run[2] for run in runs),
    }


def _run_efface(arguments: Sequence[str]) -> tuple[float, float, int]:
    """Seconds, processor seconds and peak resident bytes of one command, start-up included."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "efface", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"scoring.py: efface {arguments[0]} ended with exit code {process.returncode}")
    peak = used.ru_maxrss if sys.platform == "darwin" else 1024 * used.ru_maxrss
    return seconds, used.ru_utime + used.ru_stime, peak


def _as_text(row: dict[str, Any]) -> str:
    page = f", a page of {row['page_bytes'] / 1e6:.1f} MB" if "page_bytes" in row else ""
    return (
        f"{row['records']} records ({row['file_bytes'] / 2**20:.0f} MiB): {row['seconds']:.2f} s "
        f"({row['cpu_seconds']:.2f} s of a core), {row['peak_bytes'] / 2**20:.0f} MiB{page}"
    )


if __name__ == "__main__":
    sys.exit(main())
