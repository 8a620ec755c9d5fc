"""scripts/reproduction_known.py: its specs are valid, what the search found is what is reported, and it is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import reproduction_known as script
from efface.sweep.spec import combinations, read_spec


def found(method: str, rate: float, *, said: int, kept: int, forget: str = script.SEARCHED) -> dict[str, Any]:
    """One run, as `collect` returns it."""
    counts = {"questions": 24, "said_before": 20, "said_after": said, "declined_after": 1, "known": 100, "kept": kept}
    return {"forget": forget, "method": method, "train.lr": rate, "forget_coeff": 0.2, **counts}


def runs_of(spec: dict[str, Any], folder: Path) -> list[Any]:
    """The settings of every run of a sweep."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return [each.config for each in combinations(read_spec(path, []), target=None)]


def test_the_candidates_are_tried_and_no_others(tmp_path: Path) -> None:
    runs = runs_of(script.search_spec("model"), tmp_path)
    tried: dict[str, set[tuple[float, float]]] = {method: set() for method in script.CANDIDATES}
    for each in runs:
        tried[each.method].add((each.train.lr, each.forget_coeff))
    assert {method: len(pairs) for method, pairs in tried.items()} == {
        method: len(rates) * len(coefficients) for method, (rates, coefficients) in script.CANDIDATES.items()
    }
    assert {each.data.forget.path for each in runs} == {"examples/newton.csv"}


def test_the_best_within_the_bound_is_reported_on_other_forget_sets(tmp_path: Path) -> None:
    runs = [
        found("me+kl", 3e-5, said=9, kept=99),
        found("me+kl", 6e-5, said=5, kept=95),
        found("me+kl", 1e-4, said=0, kept=94),
        found("idk+ap", 3e-5, said=15, kept=90),
        found("idk+ap", 6e-5, said=3, kept=80),
    ]
    reported = runs_of(script.reported_spec("model", "darwin", runs), tmp_path)
    assert {each.method: each.train.lr for each in reported} == {"me+kl": 6e-5, "idk+ap": 3e-5}
    assert {each.data.forget.path for each in reported} == {"examples/darwin.csv"}


def test_finished_runs_are_counted(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"train": {"lr": 3e-5}, "forget_coeff": 0.2}))
    made = {"efface": "1", "commit": "c", "device": "cpu", "precision": "bf16", "seconds": {}}
    (run / "manifest.json").write_text(json.dumps(made))
    share = {"low": 0.0, "high": 1.0}
    answers = {"n": 24, "right": 5, "declined": 7, "made_up": 12, "silent": 0}
    verdict = {
        "forget": {
            "state": "partly",
            "known_before": 20,
            "leaks": {"count": 5, "n": 24, **share},
            "likely": {"count": 2, "n": 24, **share},
        },
        "retain": {
            "state": "kept",
            "n": 120,
            "kept": {"count": 98, "n": 100, **share},
            "own_answers": False,
            "known_facts": True,
        },
        "answers_before": {"forget": answers},
        "answers_after": {"forget": answers},
    }
    (run / "results.json").write_text(json.dumps({"method": "me+kl", "verdict": verdict}))
    (counted,) = script.collect(tmp_path, "newton")
    assert counted["made"] == made
    del counted["made"]
    expected = found("me+kl", 3e-5, said=5, kept=98) | {"likely_after": 2, "declined_after": 7}
    assert counted == expected


def test_what_was_found_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        found("me+kl", 3e-5, said=9, kept=99),
        found("me+kl", 3e-5, said=3, kept=97, forget=script.REPORTED[0]),
    ]
    source = tmp_path / "known.json"
    source.write_text(json.dumps({"schema": 1, "runs": runs}))
    script.table(source)
    printed = capsys.readouterr().out.splitlines()
    assert "| ME+KL | 3e-5 | 0.2 | 9 of 24 (20 before) | 1 | 99 of 100 (0.990) |" in printed
    assert "| ME+KL | 3e-5 | 0.2 | 3 of 24 (20 before) | 1 | 97 of 100 (0.970) |" in printed
    assert len(script.CANDIDATES) <= len(script.MARKERS) + 1, "every method has a mark"
    script.picture(source, tmp_path / "known.svg")
    assert (tmp_path / "known.svg").read_text().startswith("<?xml")
