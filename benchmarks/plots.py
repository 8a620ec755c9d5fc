#!/usr/bin/env python3
"""Plot docs/performance/scaling.json, the output of scaling.py, as docs/images/performance-*.svg.

python benchmarks/plots.py                                 # plot the stored lines
python benchmarks/plots.py cpu.jsonl gpu.jsonl             # store these lines instead, and plot them
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.ticker import LogLocator, NullLocator

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "efface",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), "0.5"),
    }
)

_DOCS = Path(__file__).parents[1] / "docs"
_COLORS = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
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
    parser.add_argument("lines", nargs="*", type=Path, metavar="FILE", help="output of scaling.py")
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
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    for series in _X:
        measured = [row for row in rows if row["series"] == series and "failed" not in row]
        if not measured:
            continue
        figure = (_draw_parts if series == "forget-set" else _draw_costs)(pyplot, series, measured)
        figure.tight_layout()
        path = folder / f"performance-{series}.svg"
        figure.savefig(path, metadata={"Date": None}, transparent=True)
        pyplot.close(figure)
        yield path


def _draw_costs(pyplot: Any, series: str, rows: Sequence[Row]) -> Any:
    """Seconds and memory side by side."""
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for axes, (key, (name, unit)) in zip(panels, _Y.items(), strict=True):
        for number, (label, line) in enumerate(_lines(rows).items()):
            points = [(row[_X[series][0]], row[key] / unit) for row in line]
            style = _STYLES[line[0]["contender"]]
            axes.plot(*zip(*points, strict=True), style, marker="o", ms=4, color=_COLORS[number], label=label)
        _finish(axes, series, name, sorted({row[_X[series][0]] for row in rows}))
    panels[0].legend(fontsize=7, framealpha=0)
    return figure


def _draw_parts(pyplot: Any, series: str, rows: Sequence[Row]) -> Any:
    """The parts of a run, one panel for each machine and shape."""
    lines = _lines(rows)
    figure, panels = pyplot.subplots(1, len(lines), figsize=(4.8 * len(lines), 3.4), squeeze=False)
    for axes, (label, line) in zip(panels[0], lines.items(), strict=True):
        for number, (key, name) in enumerate(_PARTS.items()):
            points = [(row["x"], row[key]) for row in line]
            axes.plot(*zip(*points, strict=True), marker="o", ms=4, color=_COLORS[number], label=name)
        _finish(axes, series, "seconds", sorted({row["x"] for row in line}))
        axes.set_title(label, fontsize=8)
        axes.legend(fontsize=7, framealpha=0)
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
    axes.grid(alpha=0.25)


def _short(number: float) -> str:
    return f"{number / 1024:g}k" if number >= 1024 and number % 1024 == 0 else f"{number:g}"


if __name__ == "__main__":
    main()
