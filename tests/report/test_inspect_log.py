"""Logs of inspect_ai: the fields that it requires, one sample for each question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from efface.report.inspect_log import inspect_logs
from efface.report.page.load_run import load_report_run
from support.reports import write_evaluation, write_example_run, write_queue

REQUIRED = {"version", "status", "eval", "plan", "results", "stats", "samples"}


def logs(path: Path) -> dict[str, dict[str, Any]]:
    return inspect_logs(load_report_run(path), "first")


def test_a_run_has_a_log_before_and_after(tmp_path: Path) -> None:
    before, after = logs(write_example_run(tmp_path)).values()
    for log in (before, after):
        assert set(log) == REQUIRED
        ids = [sample["id"] for sample in log["samples"]]
        assert len(set(ids)) == log["eval"]["dataset"]["samples"] == log["results"]["total_samples"] == 30
        assert log["eval"]["dataset"]["sample_ids"] == ids
    leaks = [each["id"] for each in after["samples"] if each["scores"]["outcome"]["value"] == "leaks"]
    assert leaks == ["forget/001", "forget/002"]
    assert "outcome" not in before["samples"][0]["scores"]
    (rouge,) = (each for each in after["results"]["scores"] if each["name"] == "rouge")
    assert rouge["metrics"]["forget"]["value"] < rouge["metrics"]["retain"]["value"] < 1
    assert before["eval"]["model"] == "models/target"
    assert after["eval"]["model"] == "models/target after me+gd"


def test_a_sample_is_a_conversation_with_its_scores(tmp_path: Path) -> None:
    _, after = logs(write_example_run(tmp_path)).values()
    sample = after["samples"][-1]
    said = sample["messages"][1]["content"]
    assert [each["role"] for each in sample["messages"]] == ["user", "assistant"]
    assert sample["output"]["choices"][0]["message"]["content"] == said
    assert sample["target"] == "Author 10 was born in Town 10."
    assert sample["scores"]["entailment"] == {"value": 0.0, "answer": said}
    assert sample["metadata"] == {"set": "forget", "answer_type": "made_up"}


def test_the_viewer_lists_files_that_start_with_a_time_and_exports_are_the_same(tmp_path: Path) -> None:
    path = write_example_run(tmp_path)
    assert all(name.startswith("2026-01-02T03-04-05+00-00_first-") for name in logs(path))
    assert logs(path) == logs(path)


@pytest.mark.parametrize("started", ["../../../outside", "0001-01-01T00:00:00+23:59", "soon", ""])
def test_a_start_that_is_no_time_is_no_path(tmp_path: Path, started: str) -> None:
    run = load_report_run(write_example_run(tmp_path))
    assert run.manifest is not None
    found = inspect_logs(replace(run, manifest=run.manifest.model_copy(update={"started": started})), "first")
    assert all(name.startswith("1970-01-01T00-00-00+00-00_first-") for name in found)
    assert {log["eval"]["created"] for log in found.values()} == {"1970-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(("write", "count", "samples"), [(write_evaluation, 1, 30), (write_queue, 2, 14)])
def test_evaluations_and_queues(tmp_path: Path, write: Any, count: int, samples: int) -> None:
    found = logs(write(tmp_path))
    assert len(found) == count
    assert all(len(log["samples"]) == samples for log in found.values())
    ids = [sample["id"] for log in found.values() for sample in log["samples"]]
    assert len(set(ids)) >= samples
