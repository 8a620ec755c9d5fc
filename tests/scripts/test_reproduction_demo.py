"""scripts/reproduction_demo.py: its specs are valid, and what the search found is what is reported."""

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


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been run."""
    made: list[list[str]] = []
    monkeypatch.setattr(script, "efface", lambda *words: made.append([str(each) for each in words]))
    return made


def write_run(folder: Path, method: str, coefficient: float, *, utility: float, efficacy: float) -> None:
    """The files of a finished run of a search that are read."""
    pairs = [f"method={method}", f"forget_coeff={coefficient}", "model=m", f"data.task={script.SEARCHED}"]
    config = resolve_config(RunConfig, "demo", pairs)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    keys = ("efface", "commit", "device", "precision", "versions", "seconds")
    (folder / "manifest.json").write_text(json.dumps(dict.fromkeys(keys)))
    scores = [{"model_utility": each, "forget_efficacy": efficacy, "sets": {}} for each in (0.8, utility)]
    results = {"method": method, "before": scores[0], "after": scores[1]}
    (folder / "results.json").write_text(json.dumps(results))


def write_search(root: Path, method: str, found: dict[float, tuple[float, float]]) -> None:
    """A finished search: coefficient -> model utility and forget efficacy."""
    for coefficient, (utility, efficacy) in found.items():
        folder = root / "search" / "runs" / f"{method}-{coefficient}"
        write_run(folder, method, coefficient, utility=utility, efficacy=efficacy)


def test_every_method_is_searched_in_the_same_way(calls: list[list[str]], tmp_path: Path) -> None:
    script.sweep(tmp_path, "search", script.search_spec(tmp_path))
    assert calls == [["sweep", str(tmp_path / "search.yaml"), "--out", str(tmp_path / "search")]]
    runs = [each.config for each in combinations(read_spec(tmp_path / "search.yaml", []), target=None)]
    tried = {(each.method, each.forget_coeff) for each in runs}
    assert tried == {(method, each) for method in script.METHODS for each in script.COEFFICIENTS}
    assert len({(each.data.task, each.train.lr, each.train.epochs, each.train.batch_size) for each in runs}) == 1


def test_the_best_within_the_bound_is_reported(calls: list[list[str]], tmp_path: Path) -> None:
    write_search(tmp_path, "me+gd", {0.03: (0.8, 0.5), 0.1: (0.78, 0.8), 1.0: (0.75, 0.9)})
    for method in script.METHODS[1:]:
        write_search(tmp_path, method, {0.03: (0.7, 0.5), 0.1: (0.6, 0.8)})
    found = script.found_coefficients(tmp_path)
    assert found == dict.fromkeys(script.METHODS, 0.03) | {"me+gd": 0.1}
    script.sweep(tmp_path, "methods", script.methods_spec(tmp_path))
    spec = read_spec(tmp_path / "methods.yaml", [])
    runs = [each.config for each in combinations(spec, target=None)]
    assert {each.method: each.forget_coeff for each in runs} == found | dict.fromkeys(script.WITH_KL, 0.03)
    seeds = {each: tuple(run.seed for run in runs if run.method == each) for each in found | script.WITH_KL}
    assert seeds == dict.fromkeys(found, script.SEEDS) | dict.fromkeys(script.WITH_KL, script.SEEDS[:1])
    assert {each.data.task for each in runs} == {script.REPORTED}
    assert target_config(spec) is not None
    assert spec.baselines == ("retrained", "random")


def test_requests_follow_one_another(calls: list[list[str]], tmp_path: Path) -> None:
    for method in script.METHODS:
        write_search(tmp_path, method, {0.1: (0.78, 0.8)})
    script.sweep(tmp_path, "requests", script.requests_spec(tmp_path))
    for each in combinations(read_spec(tmp_path / "requests.yaml", []), target=None):
        assert each.config.continual is not None
        assert each.config.continual.requests == tuple(range(1, 11))
        assert (each.config.data.forget_authors, each.config.forget_coeff) == (1, 0.1)


def test_what_there_is_is_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "read_record_sets", lambda folder: {})
    write_search(tmp_path, "me+gd", {0.1: (0.78, 0.812345678)})
    script.collect(tmp_path, tmp_path / "out.json")
    (model,) = json.loads((tmp_path / "out.json").read_text())["models"]
    made: dict[str, Any] = model
    assert (made["kind"], made["name"], made["after"]["forget_efficacy"]) == ("search", "ME+GD", 0.8123)
