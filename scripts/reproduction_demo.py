"""Make the runs of docs/reproduction.md on the model of `efface demo`, and collect their scores.

python scripts/reproduction_demo.py runs/reproduction docs/reproduction/methods.json

A target model; for six methods the same four forget coefficients on one forget set; the best of them on another forget
set, beside the target trained without it; ten requests one after another. What is complete is skipped, so that the same
command continues after an interruption.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from efface.data.sources.refusals import load_refusals
from efface.demo import make_target
from efface.evaluation.record_files import read_record_sets
from efface.folders import RunPaths
from efface.progress.reporter import SilentReporter
from efface.scores import score_path
from efface.scores.hallucination import answer_type, plain_text
from efface.scores.inputs.from_records import from_records
from reproduction import finished

METHODS = ("me+gd", "idk+ap", "npo+gd", "idk+gd", "ga+gd", "dpo+gd")
"""Methods with a search, and three seeds."""
WITH_KL = {"npo+kl": "npo+gd", "idk+kl": "idk+gd", "ga+kl": "ga+gd", "dpo+kl": "dpo+gd"}
"""Methods without a search and with one seed -> the method whose coefficient they take."""
IN_TURN = ("me+gd", "idk+ap", "npo+gd")
"""Methods whose requests follow one another."""
COEFFICIENTS = (0.03, 0.1, 0.3, 1.0)
"""Forget coefficients that are tried for every method; all other settings are the preset's."""
KEEP, MARGIN = 0.95, 0.01
"""The share of model utility that must be kept, and how much more of it a search asks for."""
SEEDS = (0, 1, 2)
REPORTED, SEARCHED = 1, 2
"""Tasks of the data: the forget set that is reported, and the one that is searched on."""
_DIGITS = 4


def efface(*arguments: str | Path) -> None:
    """Run a command of efface.

    Args:
        arguments: Of the command line.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    words = [*map(str, arguments)]
    print("$", shlex.join(["efface", *words]), flush=True)
    subprocess.run([sys.executable, "-m", "efface", *words], check=True)


def search_spec(root: Path) -> dict[str, Any]:
    """The sweep over coefficients, the same for every method, on a forget set that is not reported."""
    return {
        "settings": {"preset": "demo", "model": _target(root), "data": {"task": SEARCHED}},
        "grid": {"method": [*METHODS], "forget_coeff": [*COEFFICIENTS]},
    }


def found_coefficients(root: Path) -> dict[str, float]:
    """Method -> the coefficient that forgets most within the bound, or if none is within it the one that keeps most."""
    found: dict[str, tuple[float, float]] = {}
    for _, run in finished(root / "search"):
        share, efficacy = kept(run), run["after"]["forget_efficacy"]
        score = efficacy if share >= KEEP + MARGIN else share - 1
        method, coefficient = run["method"], run["settings"]["forget_coeff"]
        found[method] = max(found.get(method, (-1.0, 0.0)), (score, coefficient))
    return {method: coefficient for method, (_, coefficient) in found.items()}


def kept(run: dict[str, Any]) -> float:
    """Model utility after unlearning over that before."""
    return float(run["after"]["model_utility"] / run["before"]["model_utility"])


def methods_spec(root: Path) -> dict[str, Any]:
    """The sweep of the methods with the coefficients that were found, on the reported forget set."""
    methods = (*METHODS, *WITH_KL)
    return {
        "target": {"preset": "demo", "model": str(root / "base")},
        "settings": {"preset": "demo", "model": _target(root), "data": {"task": REPORTED}},
        "grid": {"seed": [*SEEDS], "method": [*methods]},
        "exclude": [{"method": each, "seed": seed} for each in WITH_KL for seed in SEEDS[1:]],
        "overrides": _found(root, methods),
        "baselines": ["retrained", "random"],
    }


def requests_spec(root: Path) -> dict[str, Any]:
    """Ten requests of one author each, with the coefficients that were found."""
    return {
        "settings": {
            "preset": "demo",
            "model": _target(root),
            "data": {"forget_authors": 1, "retain_evaluation": 60},
            "continual": {"requests": [*range(1, 11)]},
        },
        "grid": {"method": [*IN_TURN]},
        "overrides": _found(root, IN_TURN),
    }


def _found(root: Path, methods: Sequence[str]) -> list[dict[str, Any]]:
    found = found_coefficients(root)
    coefficients = {each: found[WITH_KL.get(each, each)] for each in methods}
    return [{"where": {"method": each}, "settings": {"forget_coeff": coefficients[each]}} for each in methods]


def sweep(root: Path, name: str, spec: dict[str, Any]) -> None:
    """Do what is missing of a sweep."""
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    efface("sweep", path, "--out", root / name)


def collect(root: Path, out: Path) -> None:
    """Write the scores of all finished runs and queues to one file."""
    runs = dict([*finished(root / "methods"), *finished(root / "search")])
    retrained = next((folder for folder, each in runs.items() if each["name"] == "retrained"), None)
    for folder, each in runs.items():
        if each["kind"] != "run":
            continue
        each["answers"] = _counts(folder)
        if root / "search" in folder.parents:
            each["kind"] = "search"
        elif retrained is not None:
            each["forget_quality"] = score_path(folder, definition="tofu", against=retrained)["forget_quality"]
    models = sorted([*runs.values(), *(each for _, each in finished(root / "requests"))], key=_sort_key)
    text = json.dumps({"schema": 1, "models": _rounded(models)}, indent=1, allow_nan=False)
    out.write_text(text + "\n", encoding="utf-8")


def _sort_key(model: dict[str, Any]) -> tuple[str, str, str]:
    return model["kind"], model.get("method", model["name"]), json.dumps(model["settings"], sort_keys=True)


def _counts(run: Path) -> dict[str, dict[str, int]]:
    """How many outputs of each set are right, declined, made up or empty."""
    known = {plain_text(each) for each in load_refusals()}
    counts = {}
    for name, records in read_record_sets(RunPaths(run).records("after")).items():
        questions = from_records(name, records, where=str(run))
        counts[name] = dict(Counter(answer_type(each, known) for each in questions))
    return counts


def _target(root: Path) -> str:
    return str(root / "target" / "model")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS) if abs(value) >= 0.1**_DIGITS else float(f"{value:.3g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    """Make what is missing, and collect what there is after each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the runs")
    parser.add_argument("out", type=Path, help="file of the results")
    given = parser.parse_args()
    make_target(given.root / "target", [], reporter=SilentReporter())
    for name, spec in (("search", search_spec), ("methods", methods_spec), ("requests", requests_spec)):
        sweep(given.root, name, spec(given.root))
        collect(given.root, given.out)


if __name__ == "__main__":
    main()
