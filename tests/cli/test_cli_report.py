"""`efface report`."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.reports import write_evaluation, write_example_run

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_example_run(tmp_path / "run")


def test_a_page_lies_in_the_folder_of_its_run(efface: Command, run: Path) -> None:
    ran = efface("report", "run")
    assert (ran.returncode, ran.stdout) == (0, "report: run/report.html\n")
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    assert efface("report", "run", "--out", "deep/er.html").returncode == 0
    assert (run.parent / "deep" / "er.html").read_bytes() == (run / "report.html").read_bytes()


def test_the_page_of_several_runs_lies_here(efface: Command, run: Path) -> None:
    write_evaluation(run.parent / "retrained")
    ran = efface("report", "run", "retrained", "./run")
    assert ran.stdout == "report: report.html\n"
    assert (run.parent / "report.html").read_text().count('role="tabpanel"') == 2


@pytest.mark.parametrize(("form", "start"), [("markdown", "Scores"), ("latex", "% needs"), ("csv", "run,method")])
def test_tables_are_printed(efface: Command, run: Path, form: str, start: str) -> None:
    before = sorted(run.rglob("*"))
    ran = efface("report", "run", "--format", form)
    assert ran.returncode == 0
    assert ran.stdout.startswith(start)
    assert sorted(run.rglob("*")) == before
    if form == "csv":
        out = run.parent / "table.csv"
        assert efface("report", "run", "--format", form, "--out", str(out)).stdout == f"report: {out}\n"
        assert list(csv.reader(io.StringIO(ran.stdout))) == list(csv.reader(io.StringIO(out.read_text())))


def test_nothing_of_a_run_is_written_over(efface: Command, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for name in ("results.json", "config.yaml", "metrics.jsonl"):
        ran = efface("report", "run", "--out", f"run/{name}")
        assert ran.returncode == 2
        assert "does not look like html; let it end in .html" in ran.stderr
    assert "add --format csv" in efface("report", "run", "--out", "x.csv").stderr
    assert "is a folder" in efface("report", "run", "--out", "run").stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_cannot_be_shown_is_one_sentence(efface: Command, run: Path) -> None:
    (run / "results.json").write_text('{"schema": 1')
    ran = efface("report", "run")
    assert ran.returncode == 2
    assert ran.stderr == "efface: run/results.json is damaged; copy the run again, or repeat it\n"
    assert not (run / "report.html").exists()
    assert efface("report").returncode == 2
