"""scripts/reproduction_demo.py: its commands and specs are valid, and what is complete is skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import reproduction_demo as script
from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.sweep.spec import combinations, read_spec, target_config
from efface.tuning.request import tuning_of
from efface.tuning.space import read_space

CANDIDATE = {
    "epoch": 3,
    "step": 30,
    "kept": 0.98,
    "kept_at_least": 0.96,
    "utility": 0.8,
    "forget_efficacy": 0.812345678,
}


class Commands:
    """Stands in for the command: notes each call, and leaves what a search leaves."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, *arguments: str | Path, allowed: tuple[int, ...] = (0,)) -> None:
        words = [str(each) for each in arguments]
        self.calls.append(words)
        if words[0] == "tune":
            write_search(Path(words[words.index("--out") + 1]), [word for word in words if "=" in word])


def write_search(folder: Path, pairs: list[str]) -> None:
    """The files of a finished search with one abandoned trial."""
    (folder / "search").mkdir(parents=True, exist_ok=True)
    config = resolve_config(RunConfig, "demo", [*pairs, "train.stop_after=3"])
    (folder / "best.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    trial = {"number": 1, "settings": {"train.lr": 4e-4}, "state": "complete", "best": CANDIDATE, "full": CANDIDATE}
    tune = {"keep": 0.95, "held": True, "chosen": 1, "kept": 0.97, "trials": [{**trial, "seconds": 1.5}]}
    (folder / "results.json").write_text(json.dumps({"tune": tune}))
    journal = [{"op_code": 8, "trial_id": 1, "user_attr": {"candidates": [CANDIDATE] * n}} for n in (1, 2)]
    (folder / "search" / "study.jsonl").write_text("".join(json.dumps(each) + "\n" for each in journal))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setattr(script, "efface", made)
    return made


def test_a_search_is_valid_and_not_repeated(commands: Commands, tmp_path: Path) -> None:
    for _ in range(2):
        for method in script.METHODS:
            script.search(tmp_path, method)
    assert len(commands.calls) == len(script.METHODS)
    for words in commands.calls:
        pairs = [word for word in words if "=" in word]
        tuning = tuning_of(words[1], pairs, keep=float(words[words.index("--keep") + 1]))
        assert tuning.base.data.task == script.SEARCHED
        space = read_space(Path(words[words.index("--space") + 1]), tuning.base, [tuning.base.method])
        assert set(space) == {"train.lr", "forget_coeff"}
        assert "--resume" not in words


def test_an_interrupted_search_is_resumed(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "tune" / "me+gd").mkdir(parents=True)
    script.search(tmp_path, "me+gd")
    assert "--resume" in commands.calls[0]


def test_the_sweeps_use_what_was_found(commands: Commands, tmp_path: Path) -> None:
    for method in script.METHODS:
        script.search(tmp_path, method)
    script.sweep(tmp_path, "methods", script.methods_spec(tmp_path, script.METHODS))
    spec = read_spec(tmp_path / "methods.yaml", [])
    runs = [each.config for each in combinations(spec, target=None)]
    assert {(each.method, each.seed) for each in runs} == {(m, s) for m in script.METHODS for s in script.SEEDS}
    assert {(each.data.task, each.train.lr, each.train.stop_after) for each in runs} == {(script.REPORTED, 4e-4, 3)}
    target = target_config(spec)
    assert target is not None
    assert spec.baselines == ("retrained", "random")


def test_a_request_has_as_many_steps_as_the_search(commands: Commands, tmp_path: Path) -> None:
    script.search(tmp_path, "me+gd")
    script.sweep(tmp_path, "requests", script.requests_spec(tmp_path, ["me+gd"]))
    (run,) = (each.config for each in combinations(read_spec(tmp_path / "requests.yaml", []), target=None))
    found = script.found_settings(tmp_path, "me+gd")
    assert run.continual is not None
    assert run.continual.requests == tuple(range(1, 11))
    authors = resolve_config(RunConfig, "demo", ["method=me+gd", "model=m"]).data.forget_authors
    assert run.train.epochs * run.data.forget_authors == found["train.epochs"] * authors
    assert run.train.stop_after == 2 * found["train.stop_after"]


def test_searches_are_collected_from_their_journals(commands: Commands, tmp_path: Path) -> None:
    script.search(tmp_path, "me+gd")
    script.collect(tmp_path, tmp_path / "out.json")
    made: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    assert made["models"] == []
    assert list(made["searches"]) == ["me+gd"]
    (trial,) = made["searches"]["me+gd"]["trials"]
    assert [each["forget_efficacy"] for each in trial["candidates"]] == [0.8123, 0.8123]
