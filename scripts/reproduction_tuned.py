"""Make the tuned runs of docs/reproduction.md, and collect their scores.

python scripts/reproduction_tuned.py demo runs/reproduction docs/reproduction/methods.json
python scripts/reproduction_tuned.py smollm2 runs/smollm2 docs/reproduction/smollm2.json --model MODEL --tofu FOLDER

A target model; every method searched with the same candidates on one forget set; the best of each on another one,
beside the target trained without it; on the demo's model also ten requests one after another. What is complete is
skipped, so that the same command continues after an interruption.

demo: the model of `efface demo`. smollm2: SmolLM2-135M-Instruct, taught 20 of TOFU's 200 authors; FOLDER has the JSON
files of TOFU, as `efface data fetch tofu` stores them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from efface.config.parse import nest_settings
from efface.data.sources.refusals import load_refusals
from efface.demo import make_target
from efface.evaluation.record_files import read_record_sets
from efface.files.folders import RunPaths
from efface.progress.reporter import SilentReporter
from efface.scores import score_path
from efface.scores.hallucination import answer_type, plain_text
from efface.scores.inputs.from_records import from_records
from reproduction import finished, point, share

KEEP, MARGIN = 0.95, 0.01
"""The share of model utility that must be kept, and how much more of it a search asks for."""
REPORTED, SEARCHED = 1, 2
"""Tasks of the data: the forget set that is reported, and the one that is searched on."""
_KEPT_AUTHORS, _QUESTIONS = 16, 20
"""Authors of TOFU that no task forgets, and the questions about each."""
_OTHERS = "real_authors_perturbed", "world_facts_perturbed"
"""Files of TOFU that are taken as they are."""
_DIGITS = 4


@dataclass(frozen=True)
class Experiment:
    """One model, and what is run on it."""

    target: Mapping[str, Any]
    """Settings of `efface finetune` without the model."""
    settings: Mapping[str, Any]
    """Of every run."""
    when_searched: Mapping[str, Any]
    """Of the runs of the search, in addition."""
    candidates: Mapping[str, Sequence[float]]
    """Setting -> the values that are tried for every method, in all combinations."""
    methods: Sequence[str]
    """Those with a search."""
    with_kl: Mapping[str, str]
    """Methods without a search and with one seed -> the method whose settings they take."""
    seeds: Mapping[str, int]
    """How many seeds a method is reported with, where it is more than one."""
    not_tried: Sequence[Mapping[str, float]] = ()
    """Combinations of candidates that are left out."""
    utility: str = "model_utility"
    """What the bound of the search holds for: of all sets but the forget set, or `model_utility_retain`."""
    in_turn: Sequence[str] = ()
    """Methods whose requests follow one another."""
    processes: int = 1
    """Runs at once."""


DEMO = Experiment(
    target={"preset": "demo"},
    settings={"preset": "demo"},
    when_searched={},
    candidates={"forget_coeff": (0.03, 0.1, 0.3, 1.0)},
    methods=("me+gd", "idk+ap", "npo+gd", "idk+gd", "ga+gd", "dpo+gd"),
    with_kl={"npo+kl": "npo+gd", "idk+kl": "idk+gd", "ga+kl": "ga+gd", "dpo+kl": "dpo+gd"},
    seeds=dict.fromkeys(("me+gd", "idk+ap", "npo+gd", "idk+gd", "ga+gd", "dpo+gd"), 3),
    in_turn=("me+gd", "idk+ap", "npo+gd"),
)
SMOLLM2 = Experiment(
    target={
        "preset": "tofu-forget01",
        "text.format": "llama2",
        "train.lr": 2e-4,
        "train.epochs": 8,
        "train.batch_size": 8,
        "train.precision": "bf16",
    },
    settings={
        "preset": "tofu-forget01",
        "text.format": "llama2",
        "train.batch_size": 8,
        "train.precision": "bf16",
        "data.retain_evaluation": 100,
        "evaluate.embedder": "offline",
        "evaluate.judge": "none",
        "evaluate.max_new_tokens": 60,
    },
    when_searched={"evaluate.limit": 40},
    candidates={"train.epochs": (5, 15), "train.lr": (5e-5, 1e-4), "forget_coeff": (0.1, 1.0)},
    not_tried=({"train.epochs": 15, "train.lr": 5e-5}, {"train.epochs": 15, "forget_coeff": 1.0}),
    utility="model_utility_retain",
    methods=("me+gd", "idk+ap", "npo+gd", "idk+gd", "ga+gd", "dpo+gd"),
    with_kl={"npo+kl": "npo+gd", "idk+kl": "idk+gd", "ga+kl": "ga+gd", "dpo+kl": "dpo+gd"},
    seeds={"me+gd": 1},
    processes=2,
)


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


def write_tofu(source: Path, out: Path) -> None:
    """Write the questions of 20 authors of TOFU, in its format: 16 that are always kept, and two tasks of two authors.

    Args:
        source: Folder of TOFU's files.
        out: Folder of the smaller files.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in ("forget01", "forget01_perturbed", "retain90", "retain_perturbed", *_OTHERS):
        lines = (source / f"{name}.json").read_text(encoding="utf-8").splitlines()
        if name.startswith("forget"):
            lines = [line for line in lines if int(json.loads(line)["task_id"]) in (REPORTED, SEARCHED)]
        elif name.startswith("retain"):  # both files start with the same authors; every third question is scored
            lines = lines[: _KEPT_AUTHORS * _QUESTIONS : 3 if name == "retain_perturbed" else 1]
        (out / f"{name}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")


def search_spec(root: Path, experiment: Experiment) -> dict[str, Any]:
    """The sweep over the candidates, the same for every method, on a forget set that is not reported."""
    return {
        "settings": _settings(root, {**experiment.settings, **experiment.when_searched, "data.task": SEARCHED}),
        "grid": {**{key: [*values] for key, values in experiment.candidates.items()}, "method": [*experiment.methods]},
        "exclude": [dict(each) for each in experiment.not_tried],
    }


def found_settings(root: Path, experiment: Experiment) -> dict[str, dict[str, float]]:
    """Method -> the candidate that forgets most within the bound, or if none is within it the one that keeps most."""
    found: dict[str, tuple[float, dict[str, float]]] = {}
    for _, run in finished(root / "search"):
        kept, efficacy = share(run, experiment.utility), point(run["after"])[0]
        score = efficacy if kept >= KEEP + MARGIN else kept - 1
        if run["method"] not in found or score > found[run["method"]][0]:
            values = {key: run["settings"][key.rpartition(".")[-1]] for key in experiment.candidates}
            found[run["method"]] = score, values
    return {method: values for method, (_, values) in found.items()}


def methods_spec(root: Path, experiment: Experiment) -> dict[str, Any]:
    """The sweep of the methods with the settings that were found, on the reported forget set."""
    methods = (*experiment.methods, *experiment.with_kl)
    seeds = range(max(experiment.seeds.values()))
    left_out = [
        {"method": each, "seed": seed} for each in methods for seed in seeds if seed >= experiment.seeds.get(each, 1)
    ]
    return {
        "target": nest_settings({**experiment.target, "model": str(root / "base")}),
        "settings": _settings(root, {**experiment.settings, "data.task": REPORTED}),
        "grid": {"seed": [*seeds], "method": [*methods]},
        "exclude": left_out,
        "overrides": _found(root, experiment, methods),
        "baselines": ["retrained", "random"],
    }


def requests_spec(root: Path, experiment: Experiment) -> dict[str, Any]:
    """Ten requests of one author each, with the settings that were found."""
    return {
        "settings": _settings(
            root,
            {
                **experiment.settings,
                "data.forget_authors": 1,
                "data.retain_evaluation": 60,
                "continual.requests": [*range(1, 11)],
            },
        ),
        "grid": {"method": [*experiment.in_turn]},
        "overrides": _found(root, experiment, experiment.in_turn),
    }


def _settings(root: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    return nest_settings({**settings, "model": str(root / "target" / "model")})


def _found(root: Path, experiment: Experiment, methods: Sequence[str]) -> list[dict[str, Any]]:
    found = found_settings(root, experiment)
    values = {each: nest_settings(found[experiment.with_kl.get(each, each)]) for each in methods}
    return [{"where": {"method": each}, "settings": values[each]} for each in methods]


def sweep(root: Path, name: str, spec: dict[str, Any], *, processes: int = 1) -> None:
    """Do what is missing of a sweep."""
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    efface("sweep", path, "--out", root / name, *(("--processes", str(processes)) if processes > 1 else ()))


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


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS) if abs(value) >= 0.1**_DIGITS else float(f"{value:.3g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def prepare_smollm2(root: Path, model: str, tofu: Path) -> None:
    """Write the data, and teach the model all of it."""
    os.environ["EFFACE_DATA"] = str(root / "data")
    write_tofu(tofu, root / "data" / "tofu")
    if not (root / "base").exists():
        (root / "base").symlink_to(Path(model).resolve(), target_is_directory=True)
    target = root / "target"
    if not (target / "model").is_dir():
        settings = [f"{key}={value}" for key, value in SMOLLM2.target.items() if key != "preset"]
        resume = ("--resume",) if target.is_dir() else ()
        preset = SMOLLM2.target["preset"]
        efface("finetune", preset, f"model={root / 'base'}", *settings, "--out", target, *resume)


def main() -> None:
    """Make what is missing, and collect what there is after each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("demo", "smollm2"))
    parser.add_argument("root", type=Path, help="folder of the runs")
    parser.add_argument("out", type=Path, help="file of the results")
    parser.add_argument("--model", help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--tofu", type=Path, help="folder of TOFU's files")
    given = parser.parse_args()
    if given.experiment == "demo":
        experiment = DEMO
        make_target(given.root / "target", [], reporter=SilentReporter())
    elif given.model is None or given.tofu is None:
        parser.error("smollm2 needs --model and --tofu")
    elif not Path(given.model).is_dir():
        parser.error(f"--model {given.model} is no folder")
    else:
        experiment = SMOLLM2
        prepare_smollm2(given.root, given.model, given.tofu)
    parts = {"search": search_spec, "methods": methods_spec}
    if experiment.in_turn:
        parts["requests"] = requests_spec
    for name, spec in parts.items():
        sweep(given.root, name, spec(given.root, experiment), processes=experiment.processes)
        collect(given.root, given.out)


if __name__ == "__main__":
    main()
