"""Command lines that cannot be parsed: one sentence with the problem and the remedy."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.messages import assert_names


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "mine.yaml"], ["missing option '--out'", "`efface run --help`"]),
        (["score"], ["missing argument 'LOG'", "`efface score --help`"]),
        (["runn"], ["no such command 'runn', did you mean 'run'?"]),
        (["unlern", "mine.yaml"], ["no such command 'unlern', did you mean 'unlearn'"]),
        (["forget"], ["no such command 'forget'", "use efface run", "`efface --help`"]),
        (["compare", "runs"], ["no such command 'compare'", "use efface leaderboard"]),
        (["abracadabra"], ["no such command 'abracadabra'", "`efface --help`"]),
        (["data", "chek"], ["no such command 'chek', did you mean 'check'?"]),
        (["--versoin"], ["no such option '--versoin', did you mean ", "--version?"]),
        (["run", "--dryrun", "--out", "out"], ["no such option '--dryrun', did you mean --dry-run?"]),
        (["run", "mine.yaml", "--out"], ["option '--out' requires an argument"]),
        (["score", "x", "--stage", "now"], ["'--stage'", "'now'", "'before', 'after'", "`efface score"]),
        (["demo", "--seed", "soon"], ["invalid value for '--seed': "]),
        (["demo", "--seed", "-1"], ["'--seed'", "greater than or equal to 0"]),
        (["score", "x", "y"], ["unexpected argument: y", "`efface score --help`"]),
        (["data", "fetch"], ["missing argument 'NAME...'", "`efface data fetch --help`"]),
        (["data", "answers", "q.csv", "model=m"], ["missing option '--out'"]),
        (["report"], ["missing argument 'RUN'"]),
        (["run", "--model", "x"], ["--model", "write model=..."]),
        (["run", "tofu-forget01", "--batch-size", "4"], ["--batch-size", "train.batch_size=..."]),
        (["report", "runs/x", "--seed", "1"], ["no such option '--seed'", "`efface report --help`"]),
        (["schema", "--model", "x"], ["no such option '--model'"]),
        (["audit", "runs/x", "--device", "cpu"], ["--device", "write device=..."]),
        (["data", "check", "--learning-rate", "1"], ["--learning-rate", "train.lr=..."]),
    ],
)
def test_wrong_usage(refused: Callable[..., str], arguments: list[str], parts: list[str]) -> None:
    assert_names(refused(*arguments), *parts)


def test_a_bug_is_one_sentence_and_a_file(
    efface: Callable[..., subprocess.CompletedProcess[str]],
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AttributeError("a thing has no part\nsecond line")

    monkeypatch.setattr("efface.scores.score_path", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path.parent))
    sentence = refused("score", "log.json")
    [report] = [Path(word.rstrip(",;.")) for word in sentence.split() if "efface-bug-" in word]
    assert_names(sentence, "bug in efface", "AttributeError: a thing has no part", str(report))
    assert "in broken" in report.read_text()
    assert report.stat().st_mode & 0o077 == 0
    report.unlink()
