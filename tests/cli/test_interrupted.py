"""Ctrl-C ends every command that takes time with one line that says how things stand, and exit code 130."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

COMMANDS = {
    "evaluate": (
        ["evaluate", "mine.yaml", "--out", "out"],
        "efface.commands.evaluate.evaluate_model",
        "nothing was written; the same command starts anew",
    ),
    "dry run": (
        ["run", "mine.yaml", "--out", "out", "--dry-run"],
        "efface.preflight.dry_run.plan_run",
        "nothing was written",
    ),
    "doctor": (["doctor", "mine.yaml"], "efface.preflight.doctor.examine_run", "nothing was written"),
    "push": (
        ["push", "mine", "ada/forgot", "--yes"],
        "efface.commands.push.push",
        "whether it was pushed, the hub's page tells",
    ),
    "demo": (["demo"], "efface.demo.run_demo", "the next demo starts anew"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_interrupted(
    efface: Callable[..., subprocess.CompletedProcess[str]],
    place: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    arguments, slow, remedy = COMMANDS[command]
    (place / "mine").symlink_to(model)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(slow, interrupted)
    before = sorted(place.rglob("*"))
    ran = efface(*arguments)
    assert (ran.returncode, ran.stderr) == (130, f"efface: interrupted; {remedy}\n")
    assert sorted(place.rglob("*")) == before


def test_interrupted_at_a_question(
    efface: Callable[..., subprocess.CompletedProcess[str]], place: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def abort(*_: object, **__: object) -> bool:
        import typer

        raise typer.Abort

    (place / "mine").symlink_to(model)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", abort)
    assert efface("push", "mine", "ada/forgot").returncode == 130
