"""Make the runs of docs/reproduction.md on the model of `efface demo`, and collect their scores.

python scripts/reproduction_demo.py runs/reproduction docs/reproduction/methods.json

A target model; for each method a search on one forget set; with what was found three seeds on another forget set, and
the target trained without it; ten requests one after another. What is complete is skipped, so that the same command
continues after an interruption. `--methods me+gd,idk+ap` makes a part, to which a later call adds.
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

METHODS = ("me+gd", "idk+ap", "npo+gd", "idk+gd", "ga+gd", "dpo+gd", "npo+kl", "idk+kl", "ga+kl", "dpo+kl")
IN_TURN = ("me+gd", "idk+ap", "npo+gd")
"""Methods whose requests follow one another."""
KEEP, TRIALS, SEEDS = 0.95, 6, (0, 1, 2)
REPORTED, SEARCHED = 1, 2
"""Tasks of the data: the forget set that is reported, and the one that is searched on."""
_START = ("train.lr=4e-4", "forget_coeff=0.1", "train.batch_size=4", "train.epochs=6")
"""The first trial of every method."""
SPACE = {
    "train.lr": {"low": 1.5e-4, "high": 1.0e-3, "log": True},
    "forget_coeff": {"low": 0.03, "high": 1.0, "log": True},
}
_NOT_WITHIN = 3
"""Exit code of `efface tune` where no trial is within the bound."""
_DIGITS = 4


def efface(*arguments: str | Path, allowed: Sequence[int] = (0,)) -> None:
    """Run a command of efface.

    Args:
        arguments: Of the command line.
        allowed: Exit codes that are no error.

    Raises:
        subprocess.CalledProcessError: Another exit code.
    """
    words = [*map(str, arguments)]
    print("$", shlex.join(["efface", *words]), flush=True)
    done = subprocess.run([sys.executable, "-m", "efface", *words], check=False)
    if done.returncode not in allowed:
        raise subprocess.CalledProcessError(done.returncode, words)


def search(root: Path, method: str) -> None:
    """Find the settings of a method on the forget set that is not reported."""
    out, space = root / "tune" / method, root / "space.yaml"
    if (out / "results.json").is_file():
        return
    space.write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    model, task = f"model={_target(root)}", f"data.task={SEARCHED}"
    bound = ("--keep", str(KEEP), "--trials", str(TRIALS), "--space", space, "--out", out)
    resume = ("--resume",) if out.is_dir() else ()
    efface("tune", "demo", model, task, f"method={method}", *_START, *bound, *resume, allowed=(0, _NOT_WITHIN))


def found_settings(root: Path, method: str) -> dict[str, Any]:
    """What the search of a method found."""
    best = yaml.safe_load((root / "tune" / method / "best.yaml").read_text(encoding="utf-8"))
    train = {f"train.{key}": best["train"][key] for key in ("lr", "batch_size", "epochs", "stop_after")}
    return {"forget_coeff": best["forget_coeff"], **train}


def methods_spec(root: Path, methods: Sequence[str]) -> dict[str, Any]:
    """The sweep of the methods with the settings that were found, on the reported forget set."""
    return {
        "target": {"preset": "demo", "model": str(root / "base")},
        "settings": {"preset": "demo", "model": _target(root), "data": {"task": REPORTED}},
        "grid": {"seed": [*SEEDS], "method": [*methods]},
        "overrides": [{"where": {"method": each}, "settings": found_settings(root, each)} for each in methods],
        "baselines": ["retrained", "random"],
    }


def requests_spec(root: Path, methods: Sequence[str]) -> dict[str, Any]:
    """Ten requests of one author each: half as many questions, so twice as many epochs make the same steps."""
    overrides = []
    for each in methods:
        found = found_settings(root, each)
        doubled = {key: 2 * found[key] for key in ("train.epochs", "train.stop_after")}
        overrides.append({"where": {"method": each}, "settings": {**found, **doubled}})
    return {
        "settings": {
            "preset": "demo",
            "model": _target(root),
            "data": {"forget_authors": 1, "retain_evaluation": 60},
            "continual": {"requests": [*range(1, 11)]},
        },
        "grid": {"method": [*methods]},
        "overrides": overrides,
    }


def sweep(root: Path, name: str, spec: dict[str, Any]) -> None:
    """Do what is missing of a sweep."""
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    efface("sweep", path, "--out", root / name)


def collect(root: Path, out: Path) -> None:
    """Write the scores of all finished runs and queues, and the candidates of all searches, to one file."""
    runs = dict(finished(root / "methods"))
    retrained = next((folder for folder, each in runs.items() if each["name"] == "retrained"), None)
    for folder, each in runs.items():
        if each["kind"] == "run":
            each["answers"] = _counts(folder)
            if retrained is not None:
                each["forget_quality"] = score_path(folder, definition="tofu", against=retrained)["forget_quality"]
    models = [*runs.values(), *(each for _, each in finished(root / "requests"))]
    models.sort(key=lambda each: (each["kind"], each.get("method", ""), json.dumps(each["settings"], sort_keys=True)))
    searches = {each: _search(root / "tune" / each) for each in METHODS if _is_searched(root, each)}
    content = {"schema": 1, "models": _rounded(models), "searches": _rounded(searches)}
    out.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _counts(run: Path) -> dict[str, dict[str, int]]:
    """How many outputs of each set are right, declined, made up or empty."""
    known = {plain_text(each) for each in load_refusals()}
    counts = {}
    for name, records in read_record_sets(RunPaths(run).records("after")).items():
        questions = from_records(name, records, where=str(run))
        counts[name] = dict(Counter(answer_type(each, known) for each in questions))
    return counts


def _search(folder: Path) -> dict[str, Any]:
    """The candidates of all trials, from the journal of a search, and what it chose."""
    tuned = json.loads((folder / "results.json").read_bytes())["tune"]
    candidates: dict[int, list[Any]] = {}
    for line in (folder / "search" / "study.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "candidates" in entry.get("user_attr", {}):
            candidates[entry["trial_id"]] = entry["user_attr"]["candidates"]
    kept = ("number", "settings", "state", "best", "full", "seconds")
    trials = [{key: each[key] for key in kept} for each in tuned["trials"]]
    for each in trials:
        each["candidates"] = candidates.get(each["number"], [])
    return {**{key: tuned[key] for key in ("keep", "held", "chosen", "kept")}, "trials": trials}


def _is_searched(root: Path, method: str) -> bool:
    return (root / "tune" / method / "results.json").is_file()


def _target(root: Path) -> str:
    return str(root / "target" / "model")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS) if abs(value) >= 0.1**_DIGITS else float(f"{value:.3g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    """Make what is missing, and collect what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the runs")
    parser.add_argument("out", type=Path, help="file of the results")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--only", choices=("search", "methods", "requests", "collect"), help="one part")
    given = parser.parse_args()
    root, methods = given.root, given.methods.split(",")
    if given.only is None:
        make_target(root / "target", [], reporter=SilentReporter())
    if given.only in (None, "search"):
        for each in methods:
            search(root, each)
    if given.only in (None, "methods"):
        sweep(root, "methods", methods_spec(root, methods))
    if given.only in (None, "requests"):
        sweep(root, "requests", requests_spec(root, [each for each in IN_TURN if each in methods]))
    collect(root, given.out)


if __name__ == "__main__":
    main()
