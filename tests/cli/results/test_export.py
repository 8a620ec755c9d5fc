"""`efface export inspect`: files for the viewer of inspect_ai."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.messages import assert_names
from support.reports import start_run, write_example_run, write_steps

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_files_and_the_next_command(efface: Command, tmp_path: Path) -> None:
    ran = efface("export", "inspect", str(write_example_run(tmp_path / "first")), "--out", str(tmp_path / "logs"))
    assert ran.returncode == 0
    *files, last = ran.stdout.splitlines()
    assert last == f"next: inspect view --log-dir {tmp_path / 'logs'}"
    assert sorted(files) == sorted(map(str, (tmp_path / "logs").iterdir()))
    assert [json.loads(Path(file).read_text())["eval"]["task"] for file in files] == ["first before", "first after"]


def test_a_run_without_answers_is_refused(efface: Command, tmp_path: Path) -> None:
    start_run(tmp_path / "run")
    write_steps(tmp_path / "run", 3)
    ran = efface("export", "inspect", str(tmp_path / "run"), "--out", str(tmp_path / "logs"))
    assert ran.returncode == 2
    assert_names(ran.stderr, str(tmp_path / "run"), "evaluate")
    assert not (tmp_path / "logs").exists()


def test_a_file_is_not_a_folder_of_logs(efface: Command, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    ran = efface("export", "inspect", str(write_example_run(tmp_path / "first")), "--out", str(tmp_path / "logs"))
    assert ran.returncode == 2
    assert_names(ran.stderr, "--out", str(tmp_path / "logs"), "folder")
