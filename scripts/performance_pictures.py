#!/usr/bin/env python3
"""Plot docs/performance/scaling.json, the output of benchmarks/scaling.py, as docs/images/performance-*.svg.

python scripts/performance_pictures.py                                 # plot the stored lines
python scripts/performance_pictures.py cpu.jsonl gpu.jsonl             # store these lines instead, and plot them
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.ticker import LogLocator, NullLocator

from figures import WIDTH, legend_above, save

_DOCS = Path(__file__).parents[1] / "docs"
_STYLES = {"packed": "-", "padded": "--"}
_X = {
    "tokens": ("tokens", "tokens in the step"),
    "length": ("x", "tokens in a sequence, as many in all"),
    "vocabulary": ("x", "vocabulary"),
    "forget-set": ("x", "items to forget"),
    "processes": ("x", "processes"),
}
"""Series -> the field that is the horizontal axis, and its name."""
_Y = {"seconds": ("seconds a step", 1.0), "peak_bytes": ("peak memory, GiB", 2.0**30)}
_PARTS = {"epoch_seconds": "steps of an epoch", "tokenize_seconds": "token ids", "plan_seconds": "draws"}

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None, docs: Path = _DOCS) -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", type=Path, metavar="FILE", help="output of benchmarks/scaling.py")
    kept = docs / "performance" / "scaling.json"
    if lines := parser.parse_args(arguments).lines:
        keep(lines, kept)
    for path in draw(json.loads(kept.read_text(encoding="utf-8")), docs / "images"):
        print(path)


def keep(lines: Sequence[Path], kept: Path) -> None:
    """Write the rows of all files as one JSON array, one row per line."""
    rows = [json.loads(line) for path in lines for line in path.read_text(encoding="utf-8").splitlines() if line]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")


def draw(rows: Sequence[Row], folder: Path) -> Iterator[Path]:
    """Write a figure for each series in the rows; every marker is a row."""
    folder.mkdir(parents=True, exist_ok=True)
    for series in _X:
        measured = [row for row in rows if row["series"] == series and "failed" not in row]
        if not measured:
            continue
        path = folder / f"performance-{series}.svg"
        save((_draw_parts if series == "forget-set" else _draw_costs)(series, measured), path)
        yield path


def _draw_costs(series: str, rows: Sequence[Row]) -> Any:
    """Seconds above memory."""
    figure, panels = pyplot.subplots(2, 1, figsize=(WIDTH, 5))
    for axes, (key, (name, unit)) in zip(panels, _Y.items(), strict=True):
        for label, line in _lines(rows).items():
            points = [(row[_X[series][0]], row[key] / unit) for row in line]
            style = _STYLES[line[0]["contender"]]
            axes.plot(*zip(*points, strict=True), style, marker="o", ms=4, label=label)
        _finish(axes, series, name, sorted({row[_X[series][0]] for row in rows}))
    legend_above(figure, *panels[0].get_legend_handles_labels())
    return figure


def _draw_parts(series: str, rows: Sequence[Row]) -> Any:
    """The parts of a run, one panel for each machine and shape."""
    lines = _lines(rows)
    figure, panels = pyplot.subplots(len(lines), 1, figsize=(WIDTH, 3.2 * len(lines)), squeeze=False)
    for axes, (label, line) in zip(panels[:, 0], lines.items(), strict=True):
        for key, name in _PARTS.items():
            points = [(row["x"], row[key]) for row in line]
            axes.plot(*zip(*points, strict=True), marker="o", ms=4, label=name)
        _finish(axes, series, "seconds", sorted({row["x"] for row in line}))
        axes.set_title(label, fontweight="normal")
    legend_above(figure, *panels[0, 0].get_legend_handles_labels(), columns=len(_PARTS))
    return figure


def _lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Label -> the points of a line, from left to right."""
    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["x"]):
        shape = f"{row['shape']} {row['method']} {row['dtype']}"
        lines.setdefault(f"{row['contender']}: {shape}, {row['device']}", []).append(row)
    return dict(sorted(lines.items()))


def _finish(axes: Any, series: str, name: str, ticks: Sequence[float]) -> None:
    axes.set(xlabel=_X[series][1], ylabel=name, xscale="log", yscale="log")
    axes.set_xticks(ticks, labels=[_short(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _short(number: float) -> str:
    return f"{number / 1024:g}k" if number >= 1024 and number % 1024 == 0 else f"{number:g}"


if __name__ == "__main__":
    main()
