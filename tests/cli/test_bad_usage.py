"""Command lines that cannot be used, and how errors are shown."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Scores


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "log.json is not a JSON file"),
        ("[]", "log.json: a log is an object"),
        ('{"eval_log.jsn": {}}', "did you mean 'eval_log.json'?"),
        ('{"eval_log.json": {"avg_gt_loss": {"0": "x"}}}', "avg_gt_loss, question 0: a number is expected, not 'x'"),
    ],
)
def test_damaged_log(refused: Callable[..., str], text: str, sentence: str) -> None:
    Path("log.json").write_text(text)
    assert sentence in refused("score", "log.json")


def test_score_of_what_is_no_log(refused: Callable[..., str]) -> None:
    assert "none.json does not exist" in refused("score", "none.json")
    Path("empty").mkdir()
    assert "empty holds no records" in refused("score", "empty")
    assert "did you mean 'tofu'?" in refused("score", "none.json", "--definition", "tofo")


def test_damaged_records(refused: Callable[..., str]) -> None:
    Path("records/after").mkdir(parents=True)
    Path("records/after/forget.jsonl").write_text('{"set": "forget"')
    assert "records/after/forget.jsonl, line 1: not an efface record" in refused("score", ".")


# The command itself


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "mine.yaml"], "missing option '--out'; see `efface run --help`"),
        (["score"], "missing argument 'LOG'; see `efface score --help`"),
        (["runn"], "no such command 'runn', did you mean 'run'?"),
        (["unlern", "mine.yaml"], "no such command 'unlern', did you mean 'unlearn'?"),
        (["forget"], "no such command 'forget'; see `efface --help`"),
        (["data", "chek"], "no such command 'chek', did you mean 'check'?"),
        (["--versoin"], "no such option '--versoin', did you mean --version?"),
        (["run", "--dryrun", "--out", "out"], "no such option '--dryrun', did you mean --dry-run?"),
        (["run", "mine.yaml", "--out"], "option '--out' requires an argument"),
        (["score", "x", "--stage", "now"], "'--stage': 'now' is not one of 'before', 'after'; see `efface score"),
        (["demo", "--seed", "soon"], "invalid value for '--seed': "),
        (["score", "x", "y"], "unexpected argument: y; see `efface score --help`"),
        (["data", "fetch"], "missing argument 'NAME...'; see `efface data fetch --help`"),
    ],
)
def test_wrong_usage(refused: Callable[..., str], arguments: list[str], sentence: str) -> None:
    assert sentence in refused(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [["--debug", "score", "none.json"], ["score", "none.json", "--debug"], ["score", "--debug", "none.json"]],
)
def test_debug_shows_the_traceback(
    efface: Callable[..., subprocess.CompletedProcess[str]], arguments: list[str]
) -> None:
    ran = efface(*arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("Traceback")
    assert ran.stderr.splitlines()[-1].startswith("efface: none.json does not exist")


def test_trouble_with_the_system_is_a_sentence_too(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere/file")

    monkeypatch.setattr("efface.scores.score_path", full)
    sentence = "somewhere/file: No space left on device; look at the path, its rights and the free space"
    assert refused("score", "log.json") == sentence


def test_sentences_cannot_steer_the_terminal(refused: Callable[..., str]) -> None:
    sentence = refused("score", "\x1b[2Jnone\n.json")
    assert "\x1b" not in sentence


def test_a_real_command_refuses_without_traceback(place: Path) -> None:
    command = [sys.executable, "-m", "efface", "run", "mine.yaml", "trian.lr=1", "--out", "out"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "efface: unknown key 'trian.lr'; did you mean 'train.lr'?\n"
    assert not (place / "out").exists()
