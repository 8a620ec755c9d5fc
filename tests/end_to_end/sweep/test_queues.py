"""Sweeps of queues, each of which is one run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.artifacts import ContinualResults
from efface.continual.queue import append_request, run_queue
from efface.errors import EffaceError
from efface.sweep.dry_run import dry_run_sweep
from efface.sweep.spec import SweepSpec
from efface.sweep.sweep import SweepResult, sweep
from support.runs import Told
from support.sweeps import KilledIn, Spec, count_trainings, read_log, read_results, started_runs

pytestmark = pytest.mark.slow  # quick: queues in tests/continual/, sweeps in tests/sweep/


@pytest.fixture(scope="module")
def queue(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of two requests."""
    data = {**settings["data"], "authors": 4}
    return {**settings, "data": data, "continual": {"requests": [1, 2]}}


@pytest.fixture(scope="module")
def grid(queue: dict[str, Any]) -> dict[str, Any]:
    """A spec of three queues."""
    return {
        "settings": {key: value for key, value in queue.items() if key != "method"},
        "grid": {"method": ["npo+gd", "me+gd"], "continual.reference": ["previous", "first"]},
        "exclude": [{"method": "me+gd", "continual.reference": "first"}],
    }


@pytest.fixture(scope="module")
def queues(grid: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SweepResult, Told]:
    """The folder of that sweep, its result and its reporter; not to be changed."""
    out, reporter = tmp_path_factory.mktemp("queues") / "sweep", Told()
    return out, sweep(SweepSpec.model_validate(grid), out, reporter=reporter), reporter


def stages(reporter: Told, start: str) -> list[str]:
    return [text for text in reporter.stages if text.startswith(start)]


def test_each_queue_is_one_run(queues: tuple[Path, SweepResult, Told]) -> None:
    out, _, reporter = queues
    assert started_runs(reporter) == [
        "method=npo+gd continual.reference=previous",
        "method=npo+gd continual.reference=first",
        "method=me+gd continual.reference=previous",
    ]
    assert count_trainings(reporter) == 6
    for line in read_log(out):
        folder = out / line["folder"]
        queue = ContinualResults.model_validate_json((folder / "results.json").read_bytes())
        last = read_results(folder / "requests" / "02")
        assert line["status"] == "finished"
        after = last.after.model_dump()
        assert {name: line[name] for name in after} == after
        assert line["over_time"] == {
            "requests": ["task 1", "task 2"],
            "metrics": queue.metrics,
            "forget_efficacy": queue.forget_efficacy,
        }
        assert {"evaluate before", "request 1", "request 2", "all"} == set(line["seconds"])
        assert not list(folder.glob("requests/*/model"))


def test_the_table_has_the_scores_of_the_last_request(queues: tuple[Path, SweepResult, Told]) -> None:
    out, swept, _ = queues
    (group,) = swept.table.groups
    assert group.requests == 2
    assert [(row.baseline, row.settings) for row in group.rows] == [
        ("before", {}),
        (None, {"method": "npo+gd", "continual.reference": "previous"}),
        (None, {"method": "npo+gd", "continual.reference": "first"}),
        (None, {"method": "me+gd", "continual.reference": "previous"}),
    ]
    folders = [read_log(out)[0]["folder"], *(line["folder"] for line in read_log(out))]
    for row, folder in zip(group.rows, folders, strict=True):
        last = read_results(out / folder / "requests" / "02")
        scores = last.before if row.baseline else last.after
        assert row.partial is not None
        assert row.partial.forget_efficacy is not None
        assert row.partial.forget_efficacy.mean == scores.partial.forget_efficacy


def test_only_new_runs_are_started(
    spec: Spec, grid: dict[str, Any], queues: tuple[Path, SweepResult, Told], tmp_path: Path
) -> None:
    out = shutil.copytree(queues[0], tmp_path / "moved")
    for number, folder in enumerate(sorted((out / "runs").iterdir())):
        folder.rename(out / f"renamed {number}")
    reporter = Told()
    again = sweep(spec(grid, "continual.keep_models=all", "train.save_steps=2"), out, reporter=reporter)
    assert (started_runs(reporter), count_trainings(reporter)) == ([], 0)
    assert again.table == queues[1].table
    other = sweep(spec({**grid, "exclude": [], "grid": {"method": ["me+gd"]}}, "continual.requests=[2,1]"), out)
    assert len(read_log(out)) == 4
    assert len(other.table.groups) == 1
    both = {**grid, "exclude": [], "grid": {"method": ["me+gd"], "continual.requests": [[1, 2], [2, 1]]}}
    both["settings"] = {key: value for key, value in grid["settings"].items() if key != "continual"}
    orders = sweep(spec(both), out, reporter=reporter)
    assert started_runs(reporter) == []
    assert [group.where for group in orders.table.groups] == [  # their last requests differ
        {"continual.requests": [1, 2]}, {"continual.requests": [2, 1]},
    ]  # fmt: skip


def test_resumes_inside_a_request(spec: Spec, queue: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec({"settings": queue}), out, reporter=KilledIn("request 2", 1))
    assert dry_run_sweep(spec({"settings": queue}), out, data_dir=None).counts() == {"started": 1}
    reporter = Told()
    sweep(spec({"settings": queue}), out, reporter=reporter)
    assert "evaluating before the requests" not in reporter.stages
    assert stages(reporter, "request 1")[0].startswith("request 1 of 2 (task 1): unlearned already in ")
    assert count_trainings(reporter) == 1
    (run,) = (out / "runs").iterdir()
    manifest = json.loads((run / "requests" / "02" / "manifest.json").read_text())
    assert "resumed" in manifest["notes"][0]


@pytest.mark.parametrize("change", ["moved", "settings"])
def test_an_interrupted_request_starts_again_after_a_change(
    spec: Spec, queue: dict[str, Any], tmp_path: Path, change: str
) -> None:
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec({"settings": queue}), out, reporter=KilledIn("request 2", 1))
    pairs = []
    if change == "moved":
        out = out.rename(tmp_path / "moved")
    else:
        pairs = ["train.save_steps=2"]
    reporter = Told()
    swept = sweep(spec({"settings": queue}, *pairs), out, reporter=reporter)
    assert swept.table.failures == []
    assert count_trainings(reporter) == 1
    (run,) = (out / "runs").iterdir()
    assert json.loads((run / "requests" / "02" / "manifest.json").read_text())["notes"] == []
    config = yaml.safe_load((run / "requests" / "02" / "config.yaml").read_text())
    assert config["model"] == str(run / "requests" / "01" / "model")


def test_a_queue_with_an_appended_request_is_found(spec: Spec, queue: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    sweep(spec({"settings": queue, "keep_models": True}), out)
    (run,) = (out / "runs").iterdir()
    longer = {"settings": {**queue, "continual": {"requests": [1, 2, 3]}}}
    grown = append_request(run, 3)
    with pytest.raises(KeyboardInterrupt):
        run_queue(grown, run, resume=True, reporter=KilledIn("request 3", 1))
    reporter = Told()
    sweep(spec(longer), out, reporter=reporter)  # the folder has the results of two requests
    assert count_trainings(reporter) == 1
    assert [line["over_time"]["requests"] for line in read_log(out)] == [
        ["task 1", "task 2"],
        ["task 1", "task 2", "task 3"],
    ]
    assert [path.name for path in (out / "runs").iterdir()] == [run.name]


def test_files_under_other_names(spec: Spec, queue: dict[str, Any], tmp_path: Path) -> None:
    for name in ("first", "second", "retain"):
        rows = [{"question": f"Where is {name} {n}?", "answer": f"{n} is in Turku."} for n in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def of(folder: Path, *requests: str) -> dict[str, Any]:
        continual = {"requests": [str(folder / name) for name in requests]}
        return {"settings": {**queue, "data": {"retain": str(folder / "retain.jsonl")}, "continual": continual}}

    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(of(tmp_path, "first.jsonl", "second.jsonl")), out, reporter=KilledIn("request 2", 1))
    (tmp_path / "moved").mkdir()
    for old, new in {"first": "1", "second": "2", "retain": "retain"}.items():
        shutil.move(tmp_path / f"{old}.jsonl", tmp_path / "moved" / f"{new}.jsonl")
    reporter = Told()
    sweep(spec(of(tmp_path / "moved", "1.jsonl", "2.jsonl")), out, reporter=reporter)
    assert "evaluating before the requests" not in reporter.stages
    assert count_trainings(reporter) == 1
    assert [line["status"] for line in read_log(out)] == ["finished"]
    sweep(spec(of(tmp_path / "moved", "2.jsonl", "1.jsonl")), out)
    assert len(list((out / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "pairs", "named"),
    [
        ({"baselines": ["random"]}, [], ["baselines: ", "queue"]),
        ({}, ["continual.requests=[1,1]"], ["continual.requests", "task 1", "twice"]),
        ({}, ["continual.requests=[1,9]"], ["task 9"]),
    ],
)
def test_refused_queues(
    spec: Spec, queue: dict[str, Any], tmp_path: Path, changes: dict[str, Any], pairs: list[str], named: list[str]
) -> None:
    with pytest.raises(EffaceError) as error:
        sweep(spec({"settings": queue, **changes}, *pairs), tmp_path / "sweep")
    for each in named:
        assert each in str(error.value)
    assert not (tmp_path / "sweep").exists()
