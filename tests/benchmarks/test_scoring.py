"""Stored records are like those of an evaluation, and scoring them is measured from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import scoring
from efface.records import Record, read_records
from efface.report.page.load_run import load_report_run
from efface.report.page.questions.question_outcomes import question_outcomes
from efface.scores import score_path
from stored_records import write_stored_records, write_stored_run


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path / "empty"))
    write_stored_records(tmp_path / "records", 60)
    return tmp_path / "records"


def records(folder: Path) -> list[Record]:
    return [record for file in sorted(folder.iterdir()) for record in read_records(file)]


def test_the_number_of_records_and_that_all_can_be_scored(folder):
    rows = records(folder)
    assert len(rows) == 60
    scores = score_path(folder)
    assert sum(each["n"] for each in scores["sets"].values()) == 60
    assert scores["model_utility"] is not None
    assert 0.1 < scores["sets"]["forget"]["rouge"] < 0.9


def test_lengths_are_realistic(folder):
    rows = records(folder)
    assert all(len(row.answer_logprobs) == pytest.approx(len(row.answer) / 4.2, abs=2.5) for row in rows)
    assert all(len(row.output_token_ids) < 220 for row in rows)
    assert sum(len(row.perturbed_logprobs) for row in rows) / len(rows) > 2


def test_the_same_count_gives_the_same_files(folder):
    write_stored_records(folder.with_name("again"), 60)
    assert [file.read_bytes() for file in sorted(folder.iterdir())] == [
        file.read_bytes() for file in sorted(folder.with_name("again").iterdir())
    ]


def test_a_stored_run_is_complete(folder):
    run = folder.with_name("run")
    write_stored_run(run, 60)
    loaded = load_report_run(run)
    assert loaded.unfinished is None
    assert {stage: sum(map(len, sets.values())) for stage, sets in loaded.answered.items()} == {
        "before": 60,
        "after": 60,
    }
    outcomes = question_outcomes(loaded)
    assert sum(each.output_before != each.output_after for each in outcomes) > 30


@pytest.mark.parametrize("page", [False, True])
def test_report(monkeypatch, capsys, page):
    def write(folder, count, *, run):
        assert run == page
        (Path(folder) / "x.jsonl").write_bytes(b"abc")
        (Path(folder) / "report.html").write_bytes(b"page")
        return "text"

    monkeypatch.setattr(scoring, "_write", write)
    runs = iter([(3.0, 2.5, 100), (1.0, 0.5, 300), (2.0, 1.5, 200)])
    monkeypatch.setattr(scoring, "_run_efface", lambda command: next(runs))
    assert scoring.main(["--counts", "7", "--json", *(["--report"] if page else [])]) == 0
    report = json.loads(capsys.readouterr().out)
    row = {"records": 7, "file_bytes": 3, "seconds": 2.0, "cpu_seconds": 1.5, "peak_bytes": 300}
    assert report["rows"] == [row | ({"page_bytes": 4} if page else {})]


def test_a_command_that_fails_is_no_measurement(tmp_path):
    with pytest.raises(SystemExit, match="efface score ended with exit code"):
        scoring._run_efface(["score", str(tmp_path)])
