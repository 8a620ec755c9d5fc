"""scripts/reproduction_tuned.py: its specs are valid, and what the search found is what is reported."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

import reproduction_tuned as script
from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.sweep.spec import combinations, read_spec, target_config
from reproduction_tuned import DEMO, SMOLLM2


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
    script.sweep(tmp_path, "search", script.search_spec(tmp_path, DEMO))
    assert calls == [["sweep", str(tmp_path / "search.yaml"), "--out", str(tmp_path / "search")]]
    runs = [each.config for each in combinations(read_spec(tmp_path / "search.yaml", []), target=None)]
    tried = {(each.method, each.forget_coeff) for each in runs}
    assert tried == {(method, each) for method in DEMO.methods for each in DEMO.candidates["forget_coeff"]}
    assert len({(each.data.task, each.train.lr, each.train.epochs, each.train.batch_size) for each in runs}) == 1


def test_the_best_within_the_bound_is_reported(calls: list[list[str]], tmp_path: Path) -> None:
    write_search(tmp_path, "me+gd", {0.03: (0.8, 0.5), 0.1: (0.78, 0.8), 1.0: (0.75, 0.9)})
    for method in DEMO.methods[1:]:
        write_search(tmp_path, method, {0.03: (0.7, 0.5), 0.1: (0.6, 0.8)})
    found = script.found_settings(tmp_path, DEMO)
    coefficients = dict.fromkeys(DEMO.methods, 0.03) | {"me+gd": 0.1}
    assert found == {method: {"forget_coeff": each} for method, each in coefficients.items()}
    script.sweep(tmp_path, "methods", script.methods_spec(tmp_path, DEMO))
    spec = read_spec(tmp_path / "methods.yaml", [])
    runs = [each.config for each in combinations(spec, target=None)]
    assert {each.method: each.forget_coeff for each in runs} == coefficients | dict.fromkeys(DEMO.with_kl, 0.03)
    seeds = {each: tuple(run.seed for run in runs if run.method == each) for each in (*found, *DEMO.with_kl)}
    assert seeds == dict.fromkeys(found, (0, 1, 2)) | dict.fromkeys(DEMO.with_kl, (0,))
    assert {each.data.task for each in runs} == {script.REPORTED}
    assert target_config(spec) is not None
    assert spec.baselines == ("retrained", "random")


def test_requests_follow_one_another(calls: list[list[str]], tmp_path: Path) -> None:
    for method in DEMO.methods:
        write_search(tmp_path, method, {0.1: (0.78, 0.8)})
    script.sweep(tmp_path, "requests", script.requests_spec(tmp_path, DEMO))
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


def test_a_target_and_a_search_of_smollm2(calls: list[list[str]], tmp_path: Path) -> None:
    """The data has the format of TOFU, and rates are searched as well."""
    source, others = tmp_path / "tofu", [{"question": "q", "answer": "a"}] * 2
    source.mkdir()
    tasks = [{"task_id": str(number), "question": "q", "answer": "a"} for number in (1, 2, 3)]
    for name in ("forget01", "forget01_perturbed"):
        write_lines(source / f"{name}.json", tasks)
    for name in ("retain90", "retain_perturbed"):
        write_lines(source / f"{name}.json", [{"question": str(each), "answer": "a"} for each in range(400)])
    for name in ("real_authors_perturbed", "world_facts_perturbed"):
        write_lines(source / f"{name}.json", others)
    script.prepare_smollm2(tmp_path, str(tmp_path), source)
    written = {path.stem: path.read_text().splitlines() for path in (tmp_path / "data" / "tofu").iterdir()}
    assert [json.loads(line)["task_id"] for line in written["forget01"]] == ["1", "2"]
    assert (len(written["retain90"]), len(written["retain_perturbed"])) == (320, 107)
    assert len(written["world_facts_perturbed"]) == len(others)
    assert calls[0][:2] == ["finetune", "tofu-forget01"]

    script.sweep(tmp_path, "search", script.search_spec(tmp_path, SMOLLM2), processes=2)
    assert calls[1][-2:] == ["--processes", "2"]
    runs = [each.config for each in combinations(read_spec(tmp_path / "search.yaml", []), target=None)]
    tried = {(each.train.epochs, each.train.lr, each.forget_coeff) for each in runs}
    assert tried < set(product(*SMOLLM2.candidates.values()))
    assert len(runs) == len(SMOLLM2.methods) * len(tried)
    assert (15, 5e-5) not in {values[:2] for values in tried}


def write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
