"""Every command that writes a folder or file refuses one that another process holds, and names that process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
import yaml

import efface as package
from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.errors import EffaceError
from efface.files.folder_lock import lock_folder, lock_output
from efface.run.pipeline import run
from support.messages import assert_names

DATA = ["data.forget=forget.jsonl", "data.retain=retain.jsonl"]


@contextmanager
def held_elsewhere(lock, path):
    """Hold a folder or file in another thread, which counts as another process."""
    has_it, done = threading.Event(), threading.Event()

    def hold():
        with lock(path):
            has_it.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    has_it.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


COMMANDS = {
    "run": (lock_folder, ["run", "mine.yaml"]),
    "unlearn": (lock_folder, ["unlearn", "mine.yaml"]),
    "queue": (lock_folder, ["run", "mine.yaml", "data.forget=null", "continual.requests=[forget.jsonl]"]),
    "finetune": (lock_folder, ["finetune", *DATA, "model=MODEL", "text.format=plain"]),
    "evaluate": (lock_folder, ["evaluate", "mine.yaml"]),
    "downstream": (lock_folder, ["downstream", "arc_challenge", "model=MODEL"]),
    "sweep": (lock_folder, ["sweep", "sweep.yaml"]),
    "demo": (lock_folder, ["demo"]),
    "answers": (lock_output, ["data", "answers", "forget.jsonl", "model=MODEL"]),
    "probe": (lock_output, ["data", "probe", "forget.jsonl", "model=MODEL"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_refuses_what_another_process_writes(name, refused, place, model):
    lock, command = COMMANDS[name]
    settings = yaml.safe_load((place / "mine.yaml").read_text())
    (place / "sweep.yaml").write_text(yaml.safe_dump({"settings": settings, "grid": {"seed": [0]}}))
    out = place / ("out.jsonl" if name == "answers" else "out")
    with held_elsewhere(lock, out):
        message = refused(*[word.replace("MODEL", str(model)) for word in command], "--out", str(out))
    assert_names(message, str(out), f"process {os.getpid()}", "since", "choose another --out")


def test_a_report_is_written_by_one_process_and_may_be_of_a_run_in_progress(efface, place):
    config = validate_config(RunConfig, yaml.safe_load((place / "mine.yaml").read_text()))
    run(config, place / "run")
    page = place / "run" / "report.html"
    with held_elsewhere(lock_output, page):
        ran = efface("report", "run")
    assert ran.returncode == 2
    assert_names(ran.stderr, "report.html", f"process {os.getpid()}")
    assert not page.exists()
    with held_elsewhere(lock_folder, place / "run"):
        assert efface("report", "run").returncode == 0
    assert page.is_file()


def test_a_report_on_a_folder_that_cannot_be_written(efface, place, monkeypatch):
    config = validate_config(RunConfig, yaml.safe_load((place / "mine.yaml").read_text()))
    run(config, place / "run")
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not (mode & os.W_OK and "run" in str(path)) and access(path, mode)
    )
    ran = efface("report", "run")
    assert ran.returncode == 2
    assert_names(ran.stderr, "run cannot be written", "choose another")
    assert efface("report", "run", "--out", "page.html").returncode == 0
    assert efface("score", "run").returncode == 0


def test_the_library_refuses_it_before_it_writes_its_inputs(place, model):
    rows = [{"question": "Where?", "answer": "There."}]
    out = place / "out"
    with held_elsewhere(lock_folder, out):
        with pytest.raises(EffaceError, match=f"process {os.getpid()}"):
            package.unlearn(str(model), forget=rows, retain=rows, method="me+gd", out=out)
        assert not (out / "inputs").exists()


@pytest.mark.slow
def test_of_two_runs_at_once_one_is_refused_and_the_other_unharmed(place):
    """Two processes of one command line, started together."""
    command = [sys.executable, "-m", "efface", "run", "mine.yaml", "--out", "both"]
    both = [
        subprocess.Popen([*command, f"method={method}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for method in ("me+gd", "ga+gd")
    ]
    errors = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], errors
    won = both[0].returncode
    assert yaml.safe_load((place / "both" / "config.yaml").read_text())["method"] == ("ga+gd" if won else "me+gd")
    assert len((place / "both" / "metrics.jsonl").read_text().splitlines()) == 2
    refusal = next(text for text, process in zip(errors, both, strict=True) if process.returncode == 2)
    assert "both is in use by" in refusal or "already contains a run" in refusal  # perhaps before the holder is named
