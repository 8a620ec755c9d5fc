"""Unlearn a person that SmolLM2-135M knows from pretraining, and count the facts it loses: docs/reproduction.md.

python scripts/reproduction_known.py make runs/known docs/reproduction/known.json --model MODEL
python scripts/reproduction_known.py table docs/reproduction/known.json
python scripts/reproduction_known.py picture docs/reproduction/known.json docs/images/known.svg

Every method forgets Isaac Newton with several learning rates and forget coefficients; what keeps enough and forgets
most forgets Albert Einstein and Charles Darwin. Methods, kind of retain set and number of epochs were developed with
Einstein; nothing was ever tried with Darwin. What is complete is skipped, so that the same command continues after an
interruption.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

import yaml
from matplotlib import pyplot

from efface.artifacts import Verdict
from efface.config.parse import nest_settings
from figure_colors import MUTED, SERIES
from figures import MARKERS, WIDTH, legend_beside, save
from reproduction_tuned import KEEP, sweep

SEARCHED, REPORTED = "newton", ("einstein", "darwin")
"""Files of examples/: the forget set that is searched on, and those that are reported."""
SETTINGS = {
    "data.retain": "model-answers",
    "data.generic_questions": 0,
    "data.known_facts": 1190,
    "me.positions": "answer",
    "train.batch_size": 4,
    "train.epochs": 8,
    "train.precision": "bf16",
    "evaluate.question": "paraphrased",
    "evaluate.judge": "key-facts",
    "evaluate.embedder": "offline",
    "evaluate.max_new_tokens": 32,
    "evaluate.precision": "bf16",
}
CANDIDATES: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {
    "idk+ap": ((3e-5, 1e-4), (0.2, 1.0)),
    "me+kl": ((3e-5, 6e-5), (0.05, 0.2)),
    "npo+kl": ((3e-5, 6e-5), (1.0,)),
    "idk+kl": ((1e-4,), (0.2,)),
    "idk+gd": ((1e-4,), (0.2,)),
    "me+gd": ((3e-5,), (0.05,)),
}
"""Method -> learning rates and forget coefficients, all combinations of which are tried."""
_KEYS = "train.lr", "forget_coeff"
_LOOKS = {SEARCHED: ("full", 5), "einstein": ("none", 9), "darwin": ("bottom", 9)}
"""Forget set -> how much of its marks in the picture is filled, and their size in points."""


def search_spec(model: str) -> dict[str, Any]:
    """The sweep over the candidates.

    Args:
        model: Its folder.
    """
    values = [sorted({each for pairs in CANDIDATES.values() for each in pairs[axis]}) for axis in range(len(_KEYS))]
    left_out = [
        {"method": method, **dict(zip(_KEYS, pair, strict=True))}
        for method, tried in CANDIDATES.items()
        for pair in product(*values)
        if pair not in set(product(*tried))
    ]
    grid = {"method": [*CANDIDATES], **dict(zip(_KEYS, values, strict=True))}
    return {"settings": _settings(model, SEARCHED), "grid": grid, "exclude": left_out}


def reported_spec(model: str, forget: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sweep of the best candidate of each method on another forget set.

    Args:
        model: Its folder.
        forget: Name of that forget set.
        runs: Of the search, as `collect` returns them.
    """
    found = {each["method"]: nest_settings({key: each[key] for key in _KEYS}) for each in best(runs)}
    overrides = [{"where": {"method": method}, "settings": settings} for method, settings in found.items()]
    return {"settings": _settings(model, forget), "grid": {"method": [*found]}, "overrides": overrides}


def best(runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each method the run that forgets most of those within the bound; where none is, the one that keeps most.

    Args:
        runs: As `collect` returns them.
    """

    def score(run: Mapping[str, Any]) -> tuple[bool, float, float]:
        kept, said = run["kept"] / run["known"], run["said_after"] / run["questions"]
        return (True, -said, kept) if kept >= KEEP else (False, kept, -said)

    return [
        max(of_method, key=score)
        for method in CANDIDATES
        if (of_method := [each for each in runs if each["method"] == method])
    ]


def collect(folder: Path, forget: str) -> list[dict[str, Any]]:
    """The counts of the finished runs of a sweep.

    Args:
        folder: Of the sweep.
        forget: Name of its forget set.

    Returns:
        Of each run its settings; how many questions about the forget set it answers before and after; how many of the
        facts that it knew in both wordings it still knows; and in what it was made.
    """
    runs = []
    for path in sorted(folder.glob("runs/*/results.json")):
        config = yaml.safe_load((path.parent / "config.yaml").read_text(encoding="utf-8"))
        manifest = json.loads((path.parent / "manifest.json").read_bytes())
        results = json.loads(path.read_bytes())
        verdict = Verdict.model_validate(results["verdict"])
        judged, kept = verdict.forget, verdict.retain
        assert judged is not None
        assert kept is not None
        runs.append(
            {
                "forget": forget,
                "method": results["method"],
                "train.lr": config["train"]["lr"],
                "forget_coeff": config["forget_coeff"],
                "questions": judged.leaks.n,
                "said_before": judged.known_before,
                "said_after": judged.leaks.count,
                "likely_after": judged.likely.count,
                "declined_after": verdict.answers_after["forget"].declined,
                "known": kept.kept.n,
                "kept": kept.kept.count,
                "made": {key: manifest[key] for key in ("efface", "commit", "device", "precision", "seconds")},
            }
        )
    return sorted(runs, key=lambda each: ([*CANDIDATES].index(each["method"]), *(each[key] for key in _KEYS)))


def make(root: Path, out: Path, model: str) -> None:
    """Do what is missing of all sweeps, and write the counts after each.

    Args:
        root: Folder of the runs.
        out: File of the results.
        model: Folder of SmolLM2-135M-Instruct.
    """
    root.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    for forget in (SEARCHED, *REPORTED):
        searched = [each for each in runs if each["forget"] == SEARCHED]
        sweep(root, forget, reported_spec(model, forget, searched) if searched else search_spec(model))
        runs += collect(root / forget, forget)
        text = json.dumps({"schema": 1, "settings": SETTINGS, "runs": runs}, indent=1, allow_nan=False)
        out.write_text(text + "\n", encoding="utf-8")


def table(source: Path) -> None:
    """Print the runs as a Markdown table for each forget set.

    Args:
        source: As `make` writes it.
    """
    for forget, runs in _by_forget(source).items():
        print(f"| {forget.title()} | rate | coefficient | said after | declined | facts kept |")
        print("|---" * 6 + "|")
        for each in runs:
            said = f"{each['said_after']} of {each['questions']} ({each['said_before']} before)"
            kept = f"{each['kept']} of {each['known']} ({each['kept'] / each['known']:.3f})"
            made = f"{each['train.lr']:.0e} | {each['forget_coeff']:g}".replace("e-0", "e-")
            print(f"| {each['method'].upper()} | {made} | {said} | {each['declined_after']} | {kept} |")
        print()


def picture(source: Path, out: Path) -> None:
    """Draw the share of facts kept against the share of questions that are still answered.

    Args:
        source: As `make` writes it.
        out: File of the picture.
    """
    figure, axes = pyplot.subplots(figsize=(WIDTH, 4.4))
    by_forget = _by_forget(source)
    looks = zip(cycle(SERIES), (*MARKERS, "X"), strict=False)  # a color may come again with another mark
    for method, (color, mark) in zip(CANDIDATES, looks, strict=False):
        for forget, runs in by_forget.items():
            points = [
                (each["said_after"] / each["said_before"], each["kept"] / each["known"])
                for each in runs
                if each["method"] == method
            ]
            label = method.upper() if forget == SEARCHED else None
            look = dict(zip(("fillstyle", "markersize"), _LOOKS[forget], strict=True))
            if points:
                axes.plot(*zip(*points, strict=True), linestyle="", marker=mark, color=color.light, label=label, **look)
    axes.axhline(KEEP, color=MUTED.light, linewidth=1, label="bound")
    axes.plot(1, 1, "*", color=MUTED.light, markersize=11, label="before")
    axes.set(xlabel="forget set: answered after, of before", ylabel="other facts kept, of before")
    legend_beside(axes)
    save(figure, out)


def _settings(model: str, forget: str) -> dict[str, Any]:
    return nest_settings({"model": model, "data.forget": f"examples/{forget}.csv", **SETTINGS})


def _by_forget(source: Path) -> dict[str, list[dict[str, Any]]]:
    runs = json.loads(source.read_bytes())["runs"]
    return {name: of_set for name in (SEARCHED, *REPORTED) if (of_set := [x for x in runs if x["forget"] == name])}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make", help="run what is missing")
    making.add_argument("root", type=Path, help="folder of the runs")
    making.add_argument("out", type=Path, help="file of the results")
    making.add_argument("--model", required=True, help="folder of SmolLM2-135M-Instruct")
    making.set_defaults(call=lambda given: make(given.root, given.out, given.model))
    printing = commands.add_parser("table", help="print the results")
    printing.add_argument("source", type=Path)
    printing.set_defaults(call=lambda given: table(given.source))
    drawing = commands.add_parser("picture", help="draw the results")
    drawing.add_argument("source", type=Path)
    drawing.add_argument("out", type=Path)
    drawing.set_defaults(call=lambda given: picture(given.source, given.out))
    given = parser.parse_args()
    given.call(given)


if __name__ == "__main__":
    main()
