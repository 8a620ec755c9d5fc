from __future__ import annotations

import json
from pathlib import Path

import pytest

from efface.artifacts import METRICS, Manifest, Partial, Results, Scores, SetScores
from efface.config.commands import RunConfig
from efface.errors import EffaceError
from efface.sweep.run_log import RunLog, failed_line, finished_line, run_facts


def facts(key: str) -> dict[str, object]:
    return {"key": key, "grid": {}, "settings": {}, "folder": f"runs/{key}"}


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_runs_are_logged_once_and_failures_again_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    log = RunLog(path)
    assert not log.finished("a")
    log.add(failed_line(facts("a"), "too large"))
    log.add(failed_line(facts("a"), "too large"))
    assert [line["error"] for line in read(path)] == ["too large"]
    log.add(failed_line(facts("a"), "another reason"))
    log.add({**facts("a"), "status": "finished"})
    assert [line["status"] for line in read(path)] == ["failed", "failed", "finished"]
    again = RunLog(path)
    assert again.finished("a")
    assert again.latest("a") == read(path)[-1]


def test_an_incomplete_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    line = json.dumps({**facts("a"), "status": "finished"}) + "\n"
    path.write_text(line + line.replace('"a"', '"b"')[:-9])
    log = RunLog(path)
    assert log.finished("a")
    assert not log.finished("b")


@pytest.mark.parametrize("line", ["{", "[]", "{}", "7"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(f"{json.dumps(facts('a'))}\n{line}\n")
    with pytest.raises(EffaceError, match=r"runs\.jsonl, line 2 is damaged; remove it"):
        RunLog(path)


def test_keys_of_a_finished_line() -> None:
    aggregates = {"model_utility": 0.5, "model_utility_retain": 0.5, "forget_efficacy": 0.25}
    scores = Scores(
        **aggregates,
        partial=Partial(**aggregates, metrics=[]),
        missing={},
        embedder=None,
        judge=None,
        sets={"forget": SetScores(n=3, **dict.fromkeys(METRICS, 0.5))},
    )
    results = Results(definition="paper", method="me", before=scores, after=scores)
    manifest = Manifest(
        efface="0", commit=None, command=[], seed=0, device="cpu", precision="float32", versions={}, data={},
        model="m", model_sha256="1", started="now", seconds={"unlearn": 1.5, "evaluate after": 0.25},
    )  # fmt: skip
    line = finished_line(facts("a"), results, manifest, None)
    assert line["seconds"] == {"unlearn": 1.5, "evaluate after": 0.25, "all": 1.75}
    assert (line["status"], line["definition"], line["forget_efficacy"]) == ("finished", "paper", 0.25)
    assert line.keys() == {
        *facts("a"), "status", "definition", "seconds", *aggregates, "partial", "missing", "embedder", "judge", "sets",
    }  # fmt: skip


def test_facts_have_the_settings_that_differ_from_the_defaults() -> None:
    config = RunConfig(method="me+gd", model="m", data="synthetic-authors", seed=3)
    assert run_facts("a", {"seed": 3}, config, "runs/a") == {
        "key": "a",
        "grid": {"seed": 3},
        "settings": {"method": "me+gd", "model": "m", "data": {"source": "synthetic-authors"}, "seed": 3},
        "folder": "runs/a",
    }
