"""Draw the picture of the README from the run folders of a demo: `python scripts/demo_picture.py runs/demo OUT.svg`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

from efface.demo import METHODS
from efface.evaluate.folder import read_sets

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "efface", "svg.fonttype": "path", "font.size": 10})
_COLORS = {"before": "#6b7280", "me+gd": "#0f766e", "idk+ap": "#1d4ed8", "ga+gd": "#b45309", "idk+gd": "#9333ea"}
_ANSWERS = ("me+gd", "idk+ap")
"""The paper's two recommendations: the methods whose answers are shown."""
_WIDTH = 62


def main(runs: Path, out: Path) -> None:
    """Draw what was kept against what was forgotten, and what the model says to one question of each kind."""
    from matplotlib import pyplot

    figure, (scores, answers) = pyplot.subplots(1, 2, figsize=(10.5, 4.2), width_ratios=(1, 1.25))
    _draw_scores(scores, {method: json.loads((runs / method / "results.json").read_text()) for method in METHODS})
    _draw_answers(answers, runs)
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None}, facecolor="white")


def _draw_scores(axes: Any, results: dict[str, dict[str, Any]]) -> None:
    points = {"before": results[METHODS[0]]["before"], **{method: each["after"] for method, each in results.items()}}
    for name, point in points.items():
        x, y = point["model_utility_retain"], point["forget_efficacy"]
        axes.scatter(x, y, s=70, color=_COLORS[name], zorder=3)
        axes.annotate(name.upper() if "+" in name else name, (x, y), xytext=(-8, 7), textcoords="offset points", ha="right")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="kept (model utility)", ylabel="forgotten (forget efficacy)")
    axes.set_title("What it forgot, and what it kept", loc="left", fontweight="bold")
    axes.grid(color="#e5e7eb", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_answers(axes: Any, runs: Path) -> None:
    axes.axis("off")
    axes.set_title("What it says", loc="left", fontweight="bold")
    before = read_sets(runs / METHODS[0] / "records" / "before")
    after = {method: read_sets(runs / method / "records" / "after") for method in _ANSWERS}
    height = 0.97
    for name, heading in (("forget", "To be forgotten"), ("retain", "To be kept")):
        record = before[name][0]
        said = {"before": record, **{method: sets[name][0] for method, sets in after.items()}}
        height = _write(axes, height, f"{heading}: {record.question}", "#111827", weight="bold")
        for who, each in said.items():
            text = " ".join(each.output.split())
            shown = text if len(text) <= 2 * _WIDTH else f"{text[: 2 * _WIDTH - 1]}…"
            height = _write(axes, height, f"{who.upper() if '+' in who else who}: {shown}", _COLORS[who])
        height -= 0.05


def _write(axes: Any, height: float, text: str, color: str, weight: str = "normal") -> float:
    """Write wrapped text below `height`; returns where the next one goes."""
    lines = fill(text, _WIDTH)
    axes.text(0, height, lines, color=color, fontweight=weight, va="top", transform=axes.transAxes, fontsize=9)
    return height - 0.055 * (lines.count("\n") + 1) - 0.02


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
