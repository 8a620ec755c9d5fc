"""Plot the effect of each objective in the runs of docs/reproduction.md.

python scripts/method_pictures.py docs/reproduction/forget01.json docs/images/methods
python scripts/method_pictures.py docs/reproduction/demo.json docs/images/methods

One picture for each objective to forget or to keep that the runs have, of every method that has it: model utility
against forget efficacy, and the metrics of the forget set and of the retain set. Several seeds are drawn as their mean.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot

from figure_colors import SERIES, TEXT
from figures import MARKERS, WIDTH, legend_above, save

OBJECTIVES = ("ga", "npo", "dpo", "me", "idk", "gd", "kl", "ap")
OF_THE_DEMO = ("simnpo", "wga", "satimp", "ceu", "undial", "pdu", "rmu", "jensun", "altpo", "jsd", "embed")
"""Objectives whose pictures are of runs of demo.json."""
_ORDER = ("ga", "npo", "me", "dpo", "idk", *OF_THE_DEMO)
_METRICS = {
    "rouge": "ROUGE",
    "probability": "probability",
    "truth_ratio": "truth ratio",
    "token_entropy": "token entropy",
    "cosine_similarity": "cosine similarity",
}
_SETS = {"forget": "what to forget", "retain": "what to keep"}
Effect = dict[str, list[dict[str, float]]]


def effects(models: Sequence[Mapping[str, Any]], objective: str) -> Effect:
    """Method -> before, scored epochs (seed 0) and the end (mean over seeds), for each method with this objective.

    One point holds `utility`, `efficacy` and `SET.METRIC`, each in [0, 1].
    """
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for each in models:
        if each["kind"] == "run" and objective in each["method"].split("+"):
            runs.setdefault(each["method"], []).append(each)
    ordered = sorted(runs, key=lambda method: (_ORDER.index(method.split("+")[0]), method))
    return {method: _line(runs[method]) for method in ordered}


def draw(effect: Effect, out: Path) -> None:
    """Write one picture."""
    figure = pyplot.figure(figsize=(WIDTH, 5.6))
    grid = figure.add_gridspec(2, 2)
    panels = [figure.add_subplot(place) for place in (grid[0, :], grid[1, 0], grid[1, 1])]
    for place, (method, points) in enumerate(effect.items()):
        look = {"color": SERIES[place].light, "marker": MARKERS[place]}
        line = [[point[axis] for point in points] for axis in ("efficacy", "utility")]
        panels[0].plot(*line, "-", linewidth=1.2, markersize=3, **look)
        panels[0].plot(line[0][-1], line[1][-1], linestyle="", markersize=9, label=method.upper(), **look)
        for axes, name in zip(panels[1:], _SETS, strict=True):
            rows = [row + (place - (len(effect) - 1) / 2) * 0.16 for row in range(len(_METRICS))]
            values = [points[-1][f"{name}.{metric}"] for metric in _METRICS]
            axes.plot(values, rows, linestyle="", markersize=7, clip_on=False, **look)
    highest = max(point["utility"] for points in effect.values() for point in points)
    _finish(panels, next(iter(effect.values()))[0], top=0.6 if highest < 0.6 else 1.0)
    legend_above(figure, *panels[0].get_legend_handles_labels(), columns=3)
    save(figure, out)


def _line(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    epochs = [each["scores"] for run in runs if "trajectory" in run for each in run["trajectory"]["epochs"]]
    ends = [_point(run["after"]) for run in runs]
    end = {name: statistics.fmean(each[name] for each in ends) for name in ends[0]}
    return [_point(runs[0]["before"]), *map(_point, epochs[:-1]), end]


def _point(scores: Mapping[str, Any]) -> dict[str, float]:
    found = {f"{name}.{metric}": scores["sets"][name][metric] for name in _SETS for metric in _METRICS}
    partial = scores["partial"]
    return {"utility": partial["model_utility"], "efficacy": partial["forget_efficacy"], **found}


def _finish(panels: Sequence[Any], before: Mapping[str, float], *, top: float) -> None:
    panels[0].plot(before["efficacy"], before["utility"], "*", color=TEXT.light, markersize=12, label="before")
    panels[0].set(xlabel="forget efficacy", ylabel="model utility", xlim=(0, 1), ylim=(-0.02, top))
    for axes, (name, title) in zip(panels[1:], _SETS.items(), strict=True):
        values = [before[f"{name}.{metric}"] for metric in _METRICS]
        axes.plot(values, range(len(_METRICS)), "*", color=TEXT.light, markersize=10, clip_on=False)
        labels = list(_METRICS.values()) if name == "forget" else [""] * len(_METRICS)
        axes.set_yticks(range(len(_METRICS)), labels)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1), ylim=(len(_METRICS) - 0.5, -0.5), title=title)


def main(source: Path, folder: Path) -> None:
    """Draw all pictures into `folder`."""
    models = json.loads(source.read_text(encoding="utf-8"))["models"]
    folder.mkdir(parents=True, exist_ok=True)
    for objective in OF_THE_DEMO if source.stem == "demo" else OBJECTIVES:
        draw(effects(models, objective), folder / f"{objective}.svg")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
