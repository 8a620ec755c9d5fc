"""Draw the picture of the README: `python scripts/readme_picture.py runs/demo/me+gd docs/images/run.svg`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib import pyplot

from efface.evaluation.record_files import read_record_sets
from figure_colors import MUTED, SERIES, TEXT
from figures import WIDTH, save

_BEFORE, _AFTER = MUTED.light, SERIES[0].light
_METRICS = {"rouge": "ROUGE", "cosine_similarity": "cosine similarity"}
_SETS = {"forget": "forget set", "retain": "retain set"}
_LETTERS, _LONGEST = 66, 130
"""Of a line, and of an answer."""


def main(run: Path, out: Path) -> None:
    """Draw scores before and after, and below them outputs of the model."""
    figure = pyplot.figure(figsize=(WIDTH, 6.2), layout="none")
    scores, answers = figure.add_axes((0.27, 0.62, 0.72, 0.33)), figure.add_axes((0.02, 0, 0.97, 0.52))
    _draw_scores(scores, json.loads((run / "results.json").read_text(encoding="utf-8")))
    _draw_answers(answers, *(read_record_sets(run / "records" / stage) for stage in ("before", "after")))
    save(figure, out)


def _draw_scores(axes: Any, results: dict[str, Any]) -> None:
    rows = [(name, metric) for name in _SETS for metric in _METRICS]
    for place, (name, metric) in enumerate(reversed(rows)):
        for shift, stage, color in ((0.2, "before", _BEFORE), (-0.2, "after", _AFTER)):
            value = results[stage]["sets"][name][metric]
            axes.barh(place + shift, value, height=0.36, color=color, label=stage if place == 0 else None)
            axes.text(value + 0.02, place + shift, f"{value:.2f}", va="center")
    axes.set_yticks(range(len(rows)), [f"{_METRICS[metric]}\n{_SETS[name]}" for name, metric in reversed(rows)])
    axes.set(xlim=(0, 1.15), xticks=(0, 0.5, 1))
    axes.grid(visible=False)
    axes.set_title(f"Before and after {results['method'].upper()}")
    axes.legend(loc="lower right", ncols=2, bbox_to_anchor=(1, 1.01), borderaxespad=0)


def _draw_answers(axes: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    axes.axis("off")
    axes.set_title("What the model says")
    height = 0.97
    for name, heading in _SETS.items():
        for old, new in list(zip(before[name], after[name], strict=True))[1:2]:
            height = _write(axes, height, f"{heading}: {old.question}", TEXT.light, weight="bold")
            height = _write(axes, height, f"before: {_short(old.output)}", _BEFORE)
            height = _write(axes, height, f"after: {_short(new.output)}", _AFTER) - 0.03


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _write(axes: Any, height: float, text: str, color: str, weight: str = "normal") -> float:
    """Write wrapped text below `height`; return the position of the next text."""
    lines = fill(text, _LETTERS)
    axes.text(0, height, lines, color=color, fontweight=weight, va="top", transform=axes.transAxes)
    return height - 0.054 * (lines.count("\n") + 1) - 0.01


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
