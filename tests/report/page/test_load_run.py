"""Folders of runs: complete, unfinished, of earlier versions, damaged, and not a run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.report.page import load_run
from efface.report.page.both_at_once import both_at_once
from efface.report.page.load_run import load_report_run
from support.reports import (
    correct,
    records,
    start_run,
    write_evaluation,
    write_example_run,
    write_queue,
    write_stage,
    write_steps,
)


def refused(path: Path) -> str:
    with pytest.raises(EffaceError) as caught:
        load_report_run(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert ";" in message, "what to do"
    return message


def test_a_complete_run(tmp_path: Path) -> None:
    run = load_report_run(write_example_run(tmp_path / "run"))
    assert (run.kind, run.method, run.unfinished) == ("run", "me+gd", None)
    assert run.before is not None
    assert run.after is not None
    assert [each.epoch for each in run.epochs] == [1, 2]
    assert len(run.steps) == 10
    assert {stage: {name: len(rows) for name, rows in sets.items()} for stage, sets in run.answered.items()} == {
        "before": {"forget": 10, "retain": 20},
        "after": {"forget": 10, "retain": 20},
    }
    assert run.manifest is not None
    assert run.manifest.seed == 3


@pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux alone")
def test_large_records_are_read_in_two_processes_with_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_example_run(tmp_path)
    alone = load_report_run(tmp_path)
    forked = []
    monkeypatch.setattr(load_run, "both_at_once", lambda *work: forked.append(work) or both_at_once(*work))
    monkeypatch.setattr(load_run, "can_fork", lambda: True)
    assert load_report_run(tmp_path) == alone
    assert not forked  # they are small
    monkeypatch.setattr(load_run, "_LARGE", 1)
    assert load_report_run(tmp_path) == alone
    assert len(forked) == 1


def test_a_run_without_its_records_still_has_scores(tmp_path: Path) -> None:
    shutil.rmtree(write_example_run(tmp_path / "run") / "records")
    run = load_report_run(tmp_path / "run")
    assert run.after is not None
    assert not run.answered["after"]


def test_a_run_of_an_earlier_version(tmp_path: Path) -> None:
    write_example_run(tmp_path)
    with (tmp_path / "config.yaml").open("a") as file:
        file.write("data:\n  after: []\nevaluate:\n  new_tokens: 7\n")
    run = load_report_run(tmp_path)
    assert run.kind == "run"
    assert "new_tokens: 7" in run.config_text


def test_a_run_during_training(tmp_path: Path) -> None:
    start_run(tmp_path)
    write_stage(tmp_path / "records" / "before", records(forget=(4, correct), retain=(4, correct)))
    write_steps(tmp_path, 3, steps=9)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "ste')  # another process is writing
    run = load_report_run(tmp_path)
    assert run.unfinished == "The last optimizer step was 3 of 9 when this report was made."
    assert run.before is not None
    assert run.before.model_utility is not None
    assert run.after is None
    assert len(run.steps) == 3


def test_epochs_so_far(tmp_path: Path) -> None:
    start_run(tmp_path)
    stage = records(forget=(4, correct), retain=(4, correct))
    for name in ("before", "epochs/001"):
        write_stage(tmp_path / "records" / name, stage)
    run = load_report_run(tmp_path)
    assert [each.epoch for each in run.epochs] == [1]
    assert run.epochs[0].scores == run.before


def test_a_model_that_is_not_evaluated(tmp_path: Path) -> None:
    start_run(tmp_path)
    write_steps(tmp_path, 3)
    (tmp_path / "model").mkdir()
    assert "efface evaluate" in (load_report_run(tmp_path).unfinished or "")
    write_stage(tmp_path / "records" / "before", records(forget=(4, correct), retain=(4, correct)))
    assert load_report_run(tmp_path).unfinished == "Training is complete, the evaluation is not."


def test_a_queue(tmp_path: Path) -> None:
    run = load_report_run(write_queue(tmp_path))
    assert run.queue is not None
    assert run.queue.requests == ["first <b>", "second"]
    assert len(run.steps) == 20
    assert list(run.answered["after"]) == ["forget", "forgotten-1", "retain"]
    (tmp_path / "results.json").unlink()
    unfinished = load_report_run(tmp_path)
    assert unfinished.queue is not None
    assert unfinished.queue.forget_efficacy == run.queue.forget_efficacy
    assert "2" in (unfinished.unfinished or "")
    shutil.rmtree(tmp_path / "requests")
    started = load_report_run(tmp_path)
    assert started.queue is None
    assert started.before is not None
    assert set(started.answered["before"]) == {"retain", "forgotten-1", "forgotten-2"}


def test_an_evaluation(tmp_path: Path) -> None:
    run = load_report_run(write_evaluation(tmp_path))
    assert (run.kind, run.before) == ("evaluation", None)
    assert run.after is not None
    assert set(run.after.notes) == {"token_entropy"}  # its records are like those of an earlier version
    file = tmp_path / "scores.json"
    scores = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in scores.items() if name != "notes"}))
    assert load_report_run(tmp_path).after == run.after.model_copy(update={"notes": {}})


def no_folder(path: Path) -> None:
    path.rmdir()


def a_file(path: Path) -> None:
    path.rmdir()
    path.touch()


def nothing(_: Path) -> None:
    pass


def runs_inside(path: Path) -> None:
    write_example_run(path / "one")
    write_example_run(path / "two")


def config(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        (path / "config.yaml").write_text(text)

    return write


def no_scores(path: Path) -> None:
    (write_evaluation(path) / "scores.json").unlink()


def first_line(path: Path) -> None:
    write_example_run(path)
    metrics = (path / "metrics.jsonl").read_text()
    (path / "metrics.jsonl").write_text(f"[1]\n{metrics}")


def bad_record(path: Path) -> None:
    write_example_run(path)
    (path / "records" / "after" / "forget.jsonl").write_text("{}\n")


def bad_set(path: Path) -> None:
    write_example_run(path)
    folder = path / "records" / "after"
    (folder / "forget.jsonl").rename(folder / "other.jsonl")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (no_folder, ["does not exist", "--out"]),
        (a_file, ["is a file", "folder of a run"]),
        (nothing, ["config.yaml", "give the folder of a run"]),
        (runs_inside, ["config.yaml", "one, two"]),
        (config("some: [thing"), ["config.yaml is damaged", "copy"]),
        (config("[]"), ["config.yaml", "no settings"]),
        (config("some: thing"), ["config.yaml", "no definition", "efface evaluate"]),
        (start_run, ["no scores or losses yet", "try again"]),
        (no_scores, ["scores of efface evaluate", "evaluate its model"]),
        (first_line, ["metrics.jsonl, line 1", "damaged"]),
        (bad_record, ["forget.jsonl", "not an efface record"]),
        (bad_set, ["other", "evaluation set"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_refused_folders(tmp_path: Path, make: Callable[[Path], None], named: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    make(folder)
    message = refused(folder)
    for each in named:
        assert each in message


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 7}', "\udcff"])
@pytest.mark.parametrize("name", ["results.json", "manifest.json"])
def test_damaged_files(tmp_path: Path, name: str, text: str) -> None:
    write_example_run(tmp_path)
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert f"{name} is damaged" in refused(tmp_path)
