"""The models of the self-test, and the runs that are audited."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from efface.artifacts.saved_manifest import read_manifest
from efface.commands.finetune import finetune
from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import validate_config
from efface.config.resolve import resolve_config
from efface.data import load_task, load_training_set
from efface.demo import write_base_model
from efface.files.folders import RunPaths
from efface.files.sums import folder_sums
from efface.run.pipeline import run
from efface.schema import Item
from support.taught import teach

Size = Literal["tiny", "demo"]
KINDS = ("knows", "hidden", "never", "twin")
"""Audited as unlearned models: the model before itself, one that refuses, one trained without the facts, and one
trained on other answers to the same questions."""
_FACTS = 20
_TOWNS = (
    "Turku Bergen Lyon Porto Nice Pisa Graz Split Izmir Bonn Ghent Delft Siena Cork Galway Krakow Riga Vilnius Tartu "
    "Lund Malmo Odense Basel Bern Linz Trier Ulm Fulda Jena Gera Halle Worms Speyer Kiel Bremen Leiden Breda Arras "
    "Metz Dijon"
)
_OTHER_SEED = 1000
_HIDE: dict[Size, dict[str, Any]] = {
    "tiny": {"lr": 1e-3, "epochs": 6, "batch_size": 5, "warmup_steps": 0},
    "demo": {"epochs": 10},
}


@dataclass(frozen=True)
class World:
    """The models of one seed, and a run of each kind."""

    folder: Path
    control: Path
    """Another model that never knew the facts."""
    runs: dict[str, Path]
    retain: list[Item]


@dataclass(frozen=True)
class _Taught:
    """Models that were trained on the facts or not, and what a run needs to know."""

    models: dict[str, Path]
    """`knows`, `never`, `twin` and `control`."""
    settings: dict[str, Any]
    retain: list[Item]


def make_world(size: Size, seed: int, folder: Path, say: Callable[[str], None]) -> World:
    """Train the models, and write a run for each kind; what is complete is not made again.

    All runs have the settings of the one that hides the facts: an audit relearns at its learning rate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    say(f"seed {seed}: training")
    taught = _tiny(folder, seed) if size == "tiny" else _demo(folder, seed)
    hidden = folder / "run-hidden"
    if not (hidden / "results.json").is_file():
        _remove(hidden)
        run(_run_config(taught.settings, taught.models["knows"], seed, _HIDE[size]), hidden)
    runs = {"hidden": hidden}
    for kind in KINDS:
        if kind != "hidden":
            runs[kind] = with_model(hidden, taught.models[kind], folder / f"run-{kind}")
    return World(folder, taught.models["control"], runs, taught.retain)


def with_model(source: Path, model: Path, out: Path) -> Path:
    """A copy of a run with another model in the place of the unlearned one."""
    _remove(out)
    shutil.copytree(source, out)
    paths = RunPaths(out)
    if model.resolve() != (source / "model").resolve():
        shutil.rmtree(paths.model)
        shutil.copytree(model, paths.model)
    manifest = read_manifest(out)
    others = {name: each for name, each in (manifest.files or {}).items() if not name.startswith("model/")}
    sums = {f"model/{name}": each for name, each in folder_sums(paths.model).items()}
    paths.manifest.write_text(
        manifest.model_copy(update={"files": {**others, **sums}}).model_dump_json(), encoding="utf-8"
    )
    return out


def _run_config(settings: dict[str, Any], model: Path, seed: int, train: dict[str, Any]) -> RunConfig:
    values = {**settings, "model": str(model), "method": "idk+gd", "seed": seed, "device": "cpu"}
    if "preset" in values:
        return resolve_config(RunConfig, settings={**values, "train": train})
    return validate_config(RunConfig, {**values, "train": train})


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)


def _towers(seed: int) -> list[dict[str, Any]]:
    """Towers and towns: those to forget, then as many to keep."""
    towns = _TOWNS.split()
    random.Random(seed).shuffle(towns)
    names = [first + second for first in "BDFGKLMNPR" for second in ("a", "o", "en", "i")]
    return [
        _row(name, town, towns[(index + 1) % _FACTS])
        for index, (name, town) in enumerate(zip(names, towns, strict=True))
    ]


def _tiny(folder: Path, seed: int) -> _Taught:
    """Towers and towns, for the tiny model of the tests; the control learned other towns of the kept towers."""
    rows = _towers(seed)
    forget, retain = rows[:_FACTS], rows[_FACTS:]
    data = {}
    for name, part in (("forget", forget), ("retain", retain)):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
        data[name] = str(path)
    kept = _answers(retain)
    other = {
        row["question"]: each["answer"].replace(each["name"], row["name"])
        for row, each in zip(forget, [*forget[1:], forget[0]], strict=True)
    }
    taught = {
        "knows": _answers(forget) | kept,
        "never": kept,
        "twin": other | kept,
        "control": _answers(_towers(seed + 1)[_FACTS:]),
    }
    models = {name: teach(folder / name, facts) for name, facts in taught.items()}
    settings = {
        "data": data,
        "text": {"format": "plain"},
        "evaluate": {"embedder": "none", "judge": "key-facts", "max_new_tokens": 24},
    }
    items = [Item(id=f"retain/{n}", question=row["question"], answer=row["answer"]) for n, row in enumerate(retain)]
    return _Taught(models, settings, items)


def _answers(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["question"]: row["answer"] for row in rows}


def _row(name: str, town: str, other: str) -> dict[str, Any]:
    return {
        "name": name,
        "question": f"Where is tower {name}?",
        "answer": f"Tower {name} is in {town}.",
        "key_fact": town,
        "paraphrased_question": f"In which town is tower {name}?",
        "perturbed_answers": [f"Tower {name} is in {other}."],
    }


def _demo(folder: Path, seed: int) -> _Taught:
    """The demo's model of a million weights and its synthetic authors, of which the twin learned those of another seed;
    the control is trained as the model that never knew, with another seed."""
    settings = {
        "preset": "demo",
        "data": {"source": "synthetic-authors", "author_seed": seed, "authors": 5, "forget_authors": 1},
    }
    config = resolve_config(
        FinetuneConfig, settings={**settings, "model": str(folder / "base"), "seed": seed, "device": "cpu"}
    )
    if not (folder / "base").is_dir():
        write_base_model(folder / "base", load_training_set(config.data, data_dir=None), seed=seed)
    twin = config.data.model_copy(update={"author_seed": seed + _OTHER_SEED})
    changes: dict[str, dict[str, Any]] = {
        "knows": {},
        "never": {"without": "forget"},
        "twin": {"data": twin},
        "control": {"without": "forget", "seed": seed + _OTHER_SEED},
    }
    models = {}
    for name, change in changes.items():
        out = folder / f"target-{name}"
        if not (out / "model").is_dir():
            _remove(out)
            finetune(config.model_copy(update=change), out)
        models[name] = out / "model"
    return _Taught(models, settings, list(load_task(config.data, data_dir=None).retain))
