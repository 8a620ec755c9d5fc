"""Sweeps that are killed and resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from efface.run.folder import RunFolder
from efface.sweep.sweep import SweepResult, sweep
from support.runs import Told
from support.sweeps import KilledIn, Spec, read_log, started_runs

pytestmark = pytest.mark.slow  # quick: tests/sweep/test_resume.py


def test_resumes_inside_the_target_and_inside_a_run(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content), out, reporter=KilledIn("target-", 3))
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content), out, reporter=KilledIn("seed=1", 1))
    (started,) = [path for path in (out / "runs").iterdir() if not (path / "results.json").is_file()]
    assert len(read_log(out)) == 1
    started.rename(out / "renamed run")
    reporter = Told()
    swept = sweep(spec(content, "train.save_steps=2"), out, reporter=reporter)  # the results stay the same
    assert started_runs(reporter)[0] == "method=me+gd seed=1"
    assert len(started_runs(reporter)) == 3
    assert "evaluating before unlearning" not in reporter.stages
    steps = [json.loads(line)["step"] for line in (out / "renamed run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2]
    manifest = RunFolder(out / "renamed run").read_manifest()
    assert manifest is not None
    assert "resumed" in manifest.notes[0]
    assert swept.table == complete[1].table


def test_killed_before_the_model_was_removed_and_the_line_written(
    spec: Spec, settings: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    sweep(spec({"settings": settings, "keep_models": True}), out)
    (out / "runs.jsonl").write_text((out / "runs.jsonl").read_text()[:100])
    sweep(spec({"settings": settings}), out)
    (run,) = (out / "runs").iterdir()
    assert not (run / "model").exists()
    assert [line["status"] for line in read_log(out)] == ["finished"]


def test_an_incomplete_line_is_written_again(spec: Spec, content: dict[str, Any], copied: Path) -> None:
    before = read_log(copied)
    (copied / "runs.jsonl").write_text((copied / "runs.jsonl").read_text()[:-30])
    sweep(spec(content), copied)
    assert [line["key"] for line in read_log(copied)] == [line["key"] for line in before]


def test_an_interrupted_evaluation_starts_again(
    spec: Spec, content: dict[str, Any], complete: tuple[Path, SweepResult, Told], copied: Path
) -> None:
    (baseline,) = (copied / "baselines").glob("random-*")
    (baseline / "scores.json").unlink()
    reporter = Told()
    assert sweep(spec(content), copied, reporter=reporter).table == complete[1].table
    assert sum(text == "baseline random" for text in reporter.stages) == 1


def test_data_under_another_name_is_the_same(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    for name in ("forget", "retain"):
        rows = [{"question": f"Where is {name} {n}?", "answer": f"{n} is in Turku."} for n in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {name: str(tmp_path / f"{name}.jsonl") for name in ("forget", "retain")}
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec({"settings": {**settings, "data": data}}), out, reporter=KilledIn("run 1", 1))
    (tmp_path / "moved").mkdir()
    moved = {name: str(shutil.move(path, tmp_path / "moved" / f"my {name}.jsonl")) for name, path in data.items()}
    reporter = Told()
    sweep(spec({"settings": {**settings, "data": moved}}), out, reporter=reporter)
    assert started_runs(reporter) == ["me+gd"]
    assert "evaluating before unlearning" not in reporter.stages
    assert len(list((out / "runs").iterdir())) == 1
    sweep(spec({"settings": {**settings, "data": {"forget": moved["retain"], "retain": moved["forget"]}}}), out)
    assert len(list((out / "runs").iterdir())) == 2


def test_model_answers_are_shared(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "forget.jsonl").write_text('{"question": "Where is Ada?", "answer": "In Turku."}\n')
    data = {
        "forget": str(tmp_path / "forget.jsonl"),
        "retain": "model-answers",
        "generic_questions": 8,
        "known_facts": 0,
    }
    content = {"settings": {**settings, "data": data}, "grid": {"seed": [0, 1]}}
    out, reporter = tmp_path / "sweep", Told()
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content, "train.epochs=2"), out, reporter=KilledIn("seed=1", 1))
    sweep(spec(content, "train.epochs=2"), out, reporter=reporter)
    assert started_runs(reporter) == ["seed=1"]
    sweep(spec(content, "train.epochs=3"), out, reporter=reporter)
    assert started_runs(reporter) == ["seed=1", "seed=0", "seed=1"]
    assert not any(text.startswith("answering") for text in reporter.stages)
    assert len({(run / "model_answers.jsonl").read_bytes() for run in (out / "runs").iterdir()}) == 1
    reporter = Told()
    sweep(spec(content, "train.epochs=2"), out, reporter=reporter)
    assert started_runs(reporter) == []
