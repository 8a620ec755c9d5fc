"""What fails or is refused, and what a sweep would do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.sweep.dry_run import dry_run_sweep
from efface.sweep.sweep import SweepResult, sweep
from support.runs import Told
from support.sweeps import Spec, lines, made


def test_a_run_that_fails_stops_nothing(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    out, told = tmp_path / "sweep", Told()
    content = {"settings": settings, "grid": {"train.lr": [1e30, 1e-3], "seed": [0, 1]}}
    settings = settings | {"train": {key: value for key, value in settings["train"].items() if key != "lr"}}
    content["settings"] = settings
    swept = sweep(spec(content), out, reporter=told)
    assert len(made(told)) == 4
    assert told.stages.count("evaluating before unlearning") == 1  # by the first, which then failed
    (group,) = swept.table.groups
    row = next(row for row in group.rows if row.settings.get("train.lr") == 1e30)
    assert (row.n, row.model_utility, row.partial, len(row.failed)) == (0, None, None, 2)
    assert row.failed[0].startswith("method=me+gd train.lr=1e+30 seed=0: step 2 of 2: me+gd is not finite")
    assert swept.table.failures == row.failed
    assert [line["status"] for line in lines(out)] == ["failed", "failed", "finished", "finished"]
    assert lines(out)[0]["error"] in row.failed[0]
    assert any(text.startswith("train.lr=1e+30 seed=0 failed: ") for text in told.warnings)
    told = Told()
    sweep(spec(content), out, reporter=told)
    assert made(told) == ["train.lr=1e+30 seed=0", "train.lr=1e+30 seed=1"]
    assert len(lines(out)) == 4


def test_a_line_that_fails_stops_nothing(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], copied: Path, monkeypatch: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EffaceError("no room")

    shutil.rmtree(copied / "baselines")
    shutil.rmtree(next((copied / "targets").glob("retrained-*")))
    monkeypatch.setattr("efface.sweep.sweep.finetune", refuse)
    told = Told()
    swept = sweep(spec(content), copied, reporter=told)
    assert swept.table.failures == ["retrained: no room"]
    assert "retrained failed: no room" in told.warnings
    rows = {row.baseline: row.n for row in swept.table.groups[0].rows}
    assert (rows["retrained"], rows["random"]) == (0, 1)


def test_lines_need_a_run_that_got_far_enough(
    spec: Spec, settings: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EffaceError("no room")

    monkeypatch.setattr("efface.sweep.sweep.run_pipeline", refuse)
    swept = sweep(spec({"settings": settings, "baselines": ["random"]}), tmp_path / "sweep")
    assert swept.table.failures == [
        "random: no run to compare with got as far as the records before unlearning; see why first",
        "method=me+gd: no room",
    ]


def test_nothing_is_written_where_something_is_refused(spec: Spec, content: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sweep"

    def refused(changed: dict[str, Any], *pairs: str) -> str:
        with pytest.raises(EffaceError) as error:
            sweep(spec({**content, **changed}, *pairs), out)
        with pytest.raises(EffaceError) as same:
            dry_run_sweep(spec({**content, **changed}, *pairs), out, data_dir=None)
        assert str(same.value) == str(error.value)
        assert not out.exists()
        return str(error.value)

    files = {"source": "files", "forget": str(tmp_path / "forget.jsonl")}
    (tmp_path / "forget.jsonl").write_text('{"question": "Where is Ada?", "answer": "In Turku."}\n')
    assert "me+gd needs a retain set" in refused({"settings": {**content["settings"], "data": files}})
    assert refused({"settings": {**content["settings"], "data": files}}).startswith("method=me+gd seed=0: ")
    assert "evaluate.judge=/nowhere: there is no folder" in refused({}, "evaluate.judge=/nowhere")
    assert "there is no folder /nowhere" in refused({"target": {**content["target"], "model": "/nowhere"}})
    same = {"method": ["me+gd", "ME+GD"]}
    assert refused({"grid": same}) == "grid: method=me+gd and method=ME+GD are the same run; leave one of them out"
    unused = refused({"baselines": []}, f"model={content['target']['model']}")
    assert unused == "target: nothing starts from it, for the settings name a model; leave one of them out"
    without = {"target": None, "baselines": ["retrained"]}
    assert refused(without, f"model={content['target']['model']}") == (
        "baselines: retrained is a target made without the forget set; say in target how to make it"
    )
    assert refused({"target": None}) == (
        "method=me+gd seed=0: model is required; give a folder or a name on the Hugging Face hub as model=MODEL"
    )


def test_folders_that_are_none(spec: Spec, content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EffaceError, match="file is a file; give a folder"):
        sweep(spec(content), tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(EffaceError, match="full is not empty and holds no sweep; choose another folder"):
        sweep(spec(content), tmp_path / "full")


def test_outline(spec: Spec, content: dict[str, Any], copied: Path, tmp_path: Path) -> None:
    fresh = dry_run_sweep(spec(content), tmp_path / "none", data_dir=None)
    assert not (tmp_path / "none").exists()
    assert fresh.target is not None
    assert fresh.target.state == "to make"
    assert [(run.what, run.state, run.folder) for run in fresh.runs][:2] == [
        ("method=me+gd seed=0", "to make", None),
        ("method=me+gd seed=1", "to make", None),
    ]
    assert fresh.counts() == {"to make": 4}
    (run, *_) = (copied / "runs").glob("me+gd-*")
    (run / "results.json").unlink()
    before = sorted(copied.rglob("*"))
    found = dry_run_sweep(spec(content), copied, data_dir=None)
    assert sorted(copied.rglob("*")) == before
    assert found.counts() in ({"done": 3, "begun": 1}, {"begun": 1, "done": 3})
    assert [line.what for line in found.baselines] == ["retrained", "random"]
    assert {line.state for line in found.baselines} == {"done"}
