"""Arguments of several commands; Ctrl-C ends every slow command with one line that says how to continue, code 130."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from efface.cli.common.options import examples, interruptible, print_message, source_and_pairs

COMMANDS = {
    "evaluate": (
        ["evaluate", "mine.yaml", "--out", "out"],
        "efface.commands.evaluate.evaluate_model",
        "continue with --resume",
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
        "check on the hub whether it was pushed",
    ),
    "answers": (
        ["data", "answers", "forget.jsonl", "model=mine", "--out", "out.jsonl"],
        "efface.commands.answers.answer_questions",
        "nothing was written; run the same command again",
    ),
    "probe": (
        ["data", "probe", "forget.jsonl", "model=mine", "--out", "out"],
        "efface.commands.probe.probe",
        "nothing was written; run the same command again",
    ),
    "downstream": (
        ["downstream", "model=mine", "--out", "out"],
        "efface.commands.downstream.downstream_model",
        "nothing was written; run the same command again",
    ),
    "demo": (["demo"], "efface.demo.run_demo", "the next demo starts from scratch"),
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


def test_interrupted_at_a_prompt(
    efface: Callable[..., subprocess.CompletedProcess[str]], place: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def abort(*_: object, **__: object) -> bool:
        raise typer.Abort

    (place / "mine").symlink_to(model)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", abort)
    assert efface("push", "mine", "ada/forgot").returncode == 130


@pytest.mark.parametrize(
    ("settings", "source", "pairs"),
    [
        (None, None, []),
        (["train.lr=1"], None, ["train.lr=1"]),
        (["tofu-forget01", "seed=1"], "tofu-forget01", ["seed=1"]),
        (["seed=1", "mine.yaml"], None, ["seed=1", "mine.yaml"]),
    ],
)
def test_the_first_word_without_an_equals_sign_is_the_source(
    settings: list[str] | None, source: str | None, pairs: list[str]
) -> None:
    assert source_and_pairs(settings) == (source, pairs)


def test_examples_are_one_per_line() -> None:
    assert examples("efface a", "efface b").splitlines()[1:] == ["Examples:", "  efface a", "  efface b"]


def test_interruptible_passes_other_errors_on() -> None:
    with pytest.raises(ValueError, match="bad"), interruptible("nothing was written"):
        raise ValueError("bad")


def test_messages_are_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("a\x1b[2Jb\nc")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("efface: a")
    assert err.count("\n") == 1
    assert "\x1b" not in err
