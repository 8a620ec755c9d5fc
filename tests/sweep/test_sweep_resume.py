"""How a sweep goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.run.folder import RunFolder
from efface.sweep.sweep import SweepResult, sweep
from support.runs import Told
from support.sweeps import DyingIn, Spec, lines, made


def test_goes_on_inside_the_target_and_inside_a_run(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content), out, reporter=DyingIn("target-", 3))
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content), out, reporter=DyingIn("seed=1", 1))
    (begun,) = [path for path in (out / "runs").iterdir() if not (path / "results.json").is_file()]
    assert len(lines(out)) == 1
    begun.rename(out / "half of one")
    told = Told()
    swept = sweep(spec(content, "train.save_steps=2"), out, reporter=told)  # no other results: no other run
    assert made(told)[0] == "method=me+gd seed=1"
    assert len(made(told)) == 3
    assert "evaluating before unlearning" not in told.stages
    steps = [json.loads(line)["step"] for line in (out / "half of one" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2]
    manifest = RunFolder(out / "half of one").read_manifest()
    assert manifest is not None
    assert "resumed" in manifest.notes[0]
    assert swept.table == complete[1].table


def test_killed_before_its_model_was_removed_and_its_line_written(
    spec: Spec, settings: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    sweep(spec({"settings": settings, "keep_models": True}), out)
    (out / "runs.jsonl").write_text((out / "runs.jsonl").read_text()[:100])
    sweep(spec({"settings": settings}), out)
    (run,) = (out / "runs").iterdir()
    assert not (run / "model").exists()
    assert [line["status"] for line in lines(out)] == ["finished"]


def test_damaged_lines(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    whole, all_of_them = (copied / "runs.jsonl").read_text(), lines(copied)
    (copied / "runs.jsonl").write_text(whole[:-30])
    sweep(spec(content), copied)
    assert [line["key"] for line in lines(copied)] == [line["key"] for line in all_of_them]
    (copied / "runs.jsonl").write_text(whole.replace("{", "", 1))
    with pytest.raises(EffaceError, match=r"runs\.jsonl, line 1 is damaged; remove it, it will be written again"):
        sweep(spec(content), copied)


def test_half_an_evaluation_is_made_anew(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], copied: Path
) -> None:
    (line,) = (copied / "baselines").glob("random-*")
    (line / "scores.json").unlink()
    told = Told()
    assert sweep(spec(content), copied, reporter=told).table == complete[1].table
    assert sum(text.startswith("to compare with: random") for text in told.stages) == 1


def test_data_under_another_name_is_the_same(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    for name in ("forget", "retain"):
        rows = [{"question": f"Where is {name} {n}?", "answer": f"{n} is in Turku."} for n in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {name: str(tmp_path / f"{name}.jsonl") for name in ("forget", "retain")}
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec({"settings": {**settings, "data": data}}), out, reporter=DyingIn("run 1", 1))
    (tmp_path / "moved").mkdir()
    moved = {name: str(shutil.move(path, tmp_path / "moved" / f"my {name}.jsonl")) for name, path in data.items()}
    told = Told()
    sweep(spec({"settings": {**settings, "data": moved}}), out, reporter=told)
    assert made(told) == ["me+gd"]
    assert "evaluating before unlearning" not in told.stages
    assert len(list((out / "runs").iterdir())) == 1
    sweep(spec({"settings": {**settings, "data": {"forget": moved["retain"], "retain": moved["forget"]}}}), out)
    assert len(list((out / "runs").iterdir())) == 2


def test_own_answers_to_keep(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "forget.jsonl").write_text('{"question": "Where is Ada?", "answer": "In Turku."}\n')
    data = {"forget": str(tmp_path / "forget.jsonl"), "retain": "model-answers", "generic_questions": 8}
    content = {"settings": {**settings, "data": data}, "grid": {"seed": [0, 1]}}
    out, told = tmp_path / "sweep", Told()
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content, "train.epochs=2"), out, reporter=DyingIn("seed=1", 1))
    sweep(spec(content, "train.epochs=2"), out, reporter=told)
    assert made(told) == ["seed=1"]
    sweep(spec(content, "train.epochs=3"), out, reporter=told)
    assert made(told) == ["seed=1", "seed=0", "seed=1"]
    assert not any(text.startswith("answering") for text in told.stages)
    assert len({(run / "model_answers.jsonl").read_bytes() for run in (out / "runs").iterdir()}) == 1
    told = Told()
    sweep(spec(content, "train.epochs=2"), out, reporter=told)
    assert made(told) == []
    with pytest.raises(
        EffaceError, match=r"^lines: with data\.retain=model-answers a model is scored on its own answers"
    ):
        sweep(spec({**content, "baselines": ["random"]}), tmp_path / "other")
