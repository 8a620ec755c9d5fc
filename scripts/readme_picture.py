"""Draw the picture of the README: `python scripts/readme_picture.py runs/demo/me+gd docs/images/run.svg`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

from efface.evaluation.record_files import read_record_sets

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "efface", "font.size": 10})
_BEFORE, _AFTER, _QUESTION = "#9ca3af", "#0f766e", "#111827"
_METRICS = {"rouge": "ROUGE", "cosine_similarity": "cosine similarity"}
_SETS = {"forget": "forget set", "retain": "retain set"}
_QUESTIONS = {"forget": 2, "retain": 1}
_WIDTH, _LONGEST = 80, 150


def main(run: Path, out: Path) -> None:
    """Draw scores before and after on the left, and outputs of the model on the right."""
    from matplotlib import pyplot

    figure, (scores, answers) = pyplot.subplots(1, 2, figsize=(11, 4), width_ratios=(1, 1.7))
    _draw_scores(scores, json.loads((run / "results.json").read_text(encoding="utf-8")))
    _draw_answers(answers, *(read_record_sets(run / "records" / stage) for stage in ("before", "after")))
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None}, facecolor="white")


def _draw_scores(axes: Any, results: dict[str, Any]) -> None:
    rows = [(name, metric) for name in _SETS for metric in _METRICS]
    for place, (name, metric) in enumerate(reversed(rows)):
        for shift, stage, color in ((0.2, "before", _BEFORE), (-0.2, "after", _AFTER)):
            value = results[stage]["sets"][name][metric]
            axes.barh(place + shift, value, height=0.36, color=color, label=stage if place == 0 else None)
            axes.text(value + 0.02, place + shift, f"{value:.2f}", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [f"{_METRICS[metric]}\n{_SETS[name]}" for name, metric in reversed(rows)])
    axes.set(xlim=(0, 1.15), xticks=(0, 0.5, 1))
    axes.set_title(f"Before and after {results['method'].upper()}", loc="left", fontweight="bold")
    axes.legend(loc="lower right", frameon=False, ncols=2, bbox_to_anchor=(1, -0.22))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_answers(axes: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    axes.axis("off")
    axes.set_title("What the model says", loc="left", fontweight="bold")
    height = 0.97
    for name, heading in _SETS.items():
        for old, new in list(zip(before[name], after[name], strict=True))[1 : 1 + _QUESTIONS[name]]:
            height = _write(axes, height, f"{heading}: {old.question}", _QUESTION, weight="bold")
            height = _write(axes, height, f"before: {_short(old.output)}", "#6b7280")
            height = _write(axes, height, f"after: {_short(new.output)}", _AFTER) - 0.05


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _write(axes: Any, height: float, text: str, color: str, weight: str = "normal") -> float:
    """Write wrapped text below `height`; return the position of the next text."""
    lines = fill(text, _WIDTH)
    axes.text(0, height, lines, color=color, fontweight=weight, va="top", transform=axes.transAxes, fontsize=9)
    return height - 0.058 * (lines.count("\n") + 1) - 0.015


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
