"""Reading folders, whole, unfinished, damaged and foreign."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.report.page.load_run import load_report_run
from support.reports import (
    known,
    records,
    start_run,
    usual_run,
    write_evaluation,
    write_queue,
    write_stage,
    write_steps,
)


def refused(path: Path) -> str:
    with pytest.raises(EffaceError) as caught:
        load_report_run(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert ";" in sentence, "what to do"
    return sentence


def test_a_whole_run(tmp_path: Path) -> None:
    run = load_report_run(usual_run(tmp_path / "run"))
    assert (run.kind, run.method, run.unfinished) == ("run", "me+gd", None)
    assert run.before is not None
    assert run.after is not None
    assert [each.epoch for each in run.epochs] == [1, 2]
    assert len(run.steps) == 10
    assert {stage: {name: len(rows) for name, rows in each.items()} for stage, each in run.records.items()} == {
        "before": {"forget": 10, "retain": 20},
        "after": {"forget": 10, "retain": 20},
    }
    assert run.manifest is not None
    assert run.manifest.seed == 3


def test_a_run_without_its_records_still_has_scores(tmp_path: Path) -> None:
    shutil.rmtree(usual_run(tmp_path / "run") / "records")
    run = load_report_run(tmp_path / "run")
    assert run.after is not None
    assert not run.records["after"]


def test_a_run_that_trains(tmp_path: Path) -> None:
    start_run(tmp_path)
    write_stage(tmp_path / "records" / "before", records(forget=(4, known), retain=(4, known)))
    write_steps(tmp_path, 3, steps=9)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "ste')  # another process is writing
    run = load_report_run(tmp_path)
    assert run.unfinished == "Step 3 of 9 was the last one when this report was made."
    assert run.before is not None
    assert run.before.model_utility is not None
    assert run.after is None
    assert len(run.steps) == 3


def test_epochs_so_far(tmp_path: Path) -> None:
    start_run(tmp_path)
    stage = records(forget=(4, known), retain=(4, known))
    for name in ("before", "epochs/001"):
        write_stage(tmp_path / "records" / name, stage)
    run = load_report_run(tmp_path)
    assert [each.epoch for each in run.epochs] == [1]
    assert run.epochs[0].scores == run.before


def test_a_model_that_was_not_evaluated_and_one_that_will_be(tmp_path: Path) -> None:
    start_run(tmp_path)
    write_steps(tmp_path, 3)
    (tmp_path / "model").mkdir()
    assert "efface evaluate" in (load_report_run(tmp_path).unfinished or "")
    write_stage(tmp_path / "records" / "before", records(forget=(4, known), retain=(4, known)))
    assert load_report_run(tmp_path).unfinished == "It was trained, and scores are still to come."


def test_a_queue(tmp_path: Path) -> None:
    run = load_report_run(write_queue(tmp_path))
    assert run.queue is not None
    assert run.queue.requests == ["first <b>", "second"]
    assert len(run.steps) == 20
    assert list(run.records["after"]) == ["forget", "forgotten-1", "retain"]
    (tmp_path / "results.json").unlink()
    going = load_report_run(tmp_path)
    assert going.queue is not None
    assert going.queue.forget_efficacy == run.queue.forget_efficacy
    assert "2" in (going.unfinished or "")
    shutil.rmtree(tmp_path / "requests")
    begun = load_report_run(tmp_path)
    assert begun.queue is None
    assert begun.before is not None
    assert set(begun.records["before"]) == {"retain", "forgotten-1", "forgotten-2"}


def test_an_evaluation(tmp_path: Path) -> None:
    run = load_report_run(write_evaluation(tmp_path))
    assert (run.kind, run.before) == ("evaluation", None)
    assert run.after is not None
    (tmp_path / "scores.json").unlink()
    assert "evaluate its model first" in refused(tmp_path)


def test_what_is_no_run(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert "is a file" in refused(tmp_path / "file")
    assert "no config.yaml" in refused(tmp_path)
    usual_run(tmp_path / "one")
    assert refused(tmp_path).endswith(": one")
    (tmp_path / "config.yaml").write_text("some: [thing")
    assert "config.yaml is damaged" in refused(tmp_path)
    (tmp_path / "config.yaml").write_text("[]")
    assert "holds no settings" in refused(tmp_path)
    (tmp_path / "config.yaml").write_text("some: thing")
    assert "names no definition" in refused(tmp_path)


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    start_run(tmp_path)
    assert "has measured nothing yet" in refused(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 7}', "\udcff"])
@pytest.mark.parametrize("name", ["results.json", "manifest.json"])
def test_damaged_files(tmp_path: Path, name: str, text: str) -> None:
    usual_run(tmp_path)
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert f"{name} is damaged" in refused(tmp_path)


def test_damaged_lines(tmp_path: Path) -> None:
    usual_run(tmp_path)
    metrics = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(f"[1]\n{metrics}")
    assert "metrics.jsonl, line 1 is damaged" in refused(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(metrics)
    (tmp_path / "records" / "after" / "forget.jsonl").write_text("{}\n")
    assert "not an efface record" in refused(tmp_path)
    (tmp_path / "records" / "after" / "forget.jsonl").rename(tmp_path / "records" / "after" / "other.jsonl")
    assert "is no evaluation set" in refused(tmp_path)
