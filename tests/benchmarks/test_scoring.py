"""Stored records are like those of an evaluation, and scoring them is measured from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import scoring
from efface.artifacts import Record, read_records
from efface.scores import score_path
from stored_records import write_stored_records


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


def test_report(monkeypatch, capsys):
    monkeypatch.setattr(scoring, "_write", lambda folder, count: (Path(folder) / "x").write_bytes(b"abc") and "text")
    runs = iter([(3.0, 2.5, 100), (1.0, 0.5, 300), (2.0, 1.5, 200)])
    monkeypatch.setattr(scoring, "_score", lambda folder: next(runs))
    assert scoring.main(["--counts", "7", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    row = {"records": 7, "file_bytes": 3, "seconds": 2.0, "cpu_seconds": 1.5, "peak_bytes": 300}
    assert report["rows"] == [row]


def test_a_command_that_fails_is_no_measurement(tmp_path):
    with pytest.raises(SystemExit, match="efface score ended with exit code"):
        scoring._score(tmp_path)
