"""Sweeps whose runs also score every epoch, or downstream tasks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.sweep.dry_run import dry_run_sweep
from efface.sweep.sweep import sweep
from support.downstream import cache_in, write_tasks
from support.runs import Told
from support.sweeps import Spec, count_trainings, read_log, read_results, started_runs

pytestmark = pytest.mark.slow  # quick: tests/sweep/test_sweep.py

BEFORE = "scoring downstream tasks before unlearning"


@pytest.fixture(scope="module")
def local_tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with cache_in(tmp_path_factory.mktemp("data-sets")):
        yield write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def scored(settings: dict[str, Any], local_tasks: Path) -> dict[str, Any]:
    """Settings with a task."""
    return {**settings, "downstream": {"tasks": ["local_arc"], "include": str(local_tasks), "limit": 2}}


def test_trajectories_are_kept(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    out, reporter = tmp_path / "sweep", Told()
    content = {"settings": settings, "grid": {"seed": [0, 1]}}
    every = ("train.epochs=2", "evaluate.every=epoch")
    swept = sweep(spec(content, *every), out, reporter=reporter)
    assert reporter.stages.count("evaluating before unlearning") == 1
    for line in read_log(out):
        folder = out / line["folder"]
        trajectory = read_results(folder).trajectory
        assert trajectory is not None
        assert [(each.epoch, each.step) for each in trajectory.epochs] == [(1, 2), (2, 4)]
        assert trajectory.epochs[-1].scores == read_results(folder).after
        assert {path.name for path in (folder / "records" / "epochs").iterdir()} == {"001", "002"}
        assert not (folder / "checkpoints").exists()
    assert sweep(spec(content, *every), out, reporter=reporter).table == swept.table
    assert len(started_runs(reporter)) == 2
    sweep(spec(content, "train.epochs=2"), out, reporter=reporter)  # without a trajectory it is another run
    assert len(started_runs(reporter)) == 4
    assert reporter.stages.count("evaluating before unlearning") == 1


def test_downstream_tasks_before_are_scored_once(
    spec: Spec, scored: dict[str, Any], local_tasks: Path, tmp_path: Path
) -> None:
    out, reporter = tmp_path / "sweep", Told()
    content = {
        "settings": {key: value for key, value in scored.items() if key != "method"},
        "grid": {"method": ["me+gd", "ga+gd"]},
    }
    swept = sweep(spec(content), out, reporter=reporter)
    assert reporter.stages.count(BEFORE) == 1
    (group,) = swept.table.groups
    found = [read_results(out / line["folder"]).downstream for line in read_log(out)]
    averages = [
        found[0].before.average if found[0] else None,
        *(each.after.average if each else None for each in found),
    ]
    assert [row.downstream.mean if row.downstream else None for row in group.rows] == averages
    assert None not in averages
    assert [line["downstream"]["average"] for line in read_log(out)] == averages[1:]
    reporter = Told()
    moved = str(shutil.copytree(local_tasks, tmp_path / "moved tasks"))
    again = (f"downstream.include={moved}", "downstream.batch_size=3")
    assert sweep(spec(content, *again), out, reporter=reporter).table == swept.table
    assert (started_runs(reporter), count_trainings(reporter)) == ([], 0)
    sweep(spec(content, "downstream.limit=1"), out, reporter=reporter)
    assert (len(started_runs(reporter)), reporter.stages.count(BEFORE)) == (2, 1)
    with Path(moved, "local_arc.yaml").open("a") as file:
        file.write("# changed\n")
    assert dry_run_sweep(spec(content, *again), out, data_dir=None).counts() == {"to do": 2}


def test_queues_with_downstream_tasks(spec: Spec, scored: dict[str, Any], tmp_path: Path) -> None:
    data = {**scored["data"], "authors": 4}
    content = {"settings": {**scored, "data": data, "continual": {"requests": [1, 2]}}}
    out = tmp_path / "sweep"
    (group,) = sweep(spec(content), out).table.groups
    (line,) = read_log(out)
    last = read_results(out / line["folder"] / "requests" / "02").downstream
    assert last is not None
    assert [row.downstream.mean if row.downstream else None for row in group.rows] == [
        last.before.average, last.after.average,
    ]  # fmt: skip


@pytest.mark.usefixtures("few_library_tasks")
def test_missing_tasks_are_refused(spec: Spec, scored: dict[str, Any], tmp_path: Path) -> None:
    wrong = {**scored["downstream"], "tasks": ["local_ark"]}
    with pytest.raises(EffaceError, match="local_ark"):
        sweep(spec({"settings": {**scored, "downstream": wrong}}), tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
