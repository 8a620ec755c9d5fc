"""`efface report`: a page or tables."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.messages import assert_names
from support.reports import write_evaluation, write_example_run

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_example_run(tmp_path / "run")


def test_page_of_one_run(efface: Command, run: Path) -> None:
    ran = efface("report", "run")
    assert (ran.returncode, ran.stdout) == (0, "report: run/report.html\n")
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    assert efface("report", "run", "--out", "deep/er.html").returncode == 0
    assert (run.parent / "deep" / "er.html").read_bytes() == (run / "report.html").read_bytes()


def test_page_of_several_runs(efface: Command, run: Path) -> None:
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


def test_files_of_a_run_are_not_overwritten(efface: Command, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for name in ("results.json", "config.yaml", "metrics.jsonl"):
        ran = efface("report", "run", "--out", f"run/{name}")
        assert ran.returncode == 2
        assert_names(ran.stderr, f"--out run/{name}", "html", ".html")
    assert_names(efface("report", "run", "--out", "x.csv").stderr, "x.csv", "--format csv")
    assert_names(efface("report", "run", "--out", "run").stderr, "--out run", "folder")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_damaged_run(efface: Command, run: Path) -> None:
    (run / "results.json").write_text('{"schema": 1')
    ran = efface("report", "run")
    assert ran.returncode == 2
    assert_names(ran.stderr, "efface: run/results.json")
    assert ran.stderr.count("\n") == 1
    assert not (run / "report.html").exists()
