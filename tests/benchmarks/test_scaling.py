"""Every series prints its points as JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

import isolation
import measure as measuring
import padded_baseline
import scaling
import several_processes
import workload
from efface.train.step_log import StepLog
from forget_run import measure_run
from measure import measure
from options import step_setting
from several_processes import measure_processes
from shapes import SHAPES, Shape
from support.processes import run_group, run_program

PADDED_LENGTH = 80
SMALL = Shape(32, 2, 4, 2, 48, 5120, tie_word_embeddings=True)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The tokenizer of the text, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFFACE_DATA", str(tmp_path_factory.mktemp("empty")))
        return workload.formatter_for(*workload.load_text()).tokenizer


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path, tokenizer):
    """A few small steps, measured in this process."""
    monkeypatch.setattr(workload, "train_tokenizer", lambda *_: tokenizer)
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path))
    monkeypatch.setitem(SHAPES, "tiny", SMALL)
    monkeypatch.setattr(measuring, "WARM_UP", 1)
    monkeypatch.setattr(padded_baseline, "PADDED_LENGTH", PADDED_LENGTH)
    monkeypatch.setattr(scaling, "measure_in_subprocess", measure)
    monkeypatch.setattr(scaling, "run_in_subprocess", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(scaling, "ITEMS", (2, 4))
    monkeypatch.setattr(scaling, "LENGTHS", (16, 32))
    monkeypatch.setattr(scaling, "VOCABULARIES", (4096, 8192))
    monkeypatch.setattr(scaling, "FORGET_SETS", (40,))


def lines(capsys, *arguments: str) -> list[dict]:
    assert scaling.main(["--device", "cpu", "--repeats", "1", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_more_items_are_more_tokens(capsys):
    two, four = lines(capsys, "--series", "tokens")
    assert (two["x"], four["x"]) == (2, 4)
    assert 1.5 < four["tokens"] / two["tokens"] < 2.5
    assert two["forwards"] == four["forwards"] == 1
    assert {"seconds", "peak_bytes", "device", "commit", "date", "versions", "threads"} <= two.keys()


def test_lengths_have_the_same_number_of_tokens(capsys):
    rows = lines(capsys, "--series", "length", "--tokens", "64", "--method", "npo+gd")
    packed, padded = ([row for row in rows if row["contender"] == each] for each in ("packed", "padded"))
    assert [row["x"] for row in packed] == [16, 32]
    assert all(row["tokens"] == pytest.approx(2 * 64, abs=4) for row in packed)  # what sequences share is read once
    assert [row["tokens"] for row in padded] == [3 * 4 * PADDED_LENGTH, 3 * 2 * PADDED_LENGTH]
    assert [row["loss"] for row in packed] == pytest.approx([row["loss"] for row in padded], rel=1e-4)


def test_longer_rows_are_padded_to_the_longest():
    setting = replace(step_setting(scaling._parser().parse_args(["--device", "cpu"])), shape=SMALL, repeats=1)
    [example] = scaling._random_examples(setting, PADDED_LENGTH + 100, count=1)
    assert measure("padded", setting, [example]).tokens == 3 * (PADDED_LENGTH + 100)


def test_vocabularies_of_two_methods(capsys):
    rows = lines(capsys, "--series", "vocabulary", "--items", "2")
    assert [(row["method"], row["x"]) for row in rows] == [
        (method, vocabulary) for method in ("idk+ap", "me+gd") for vocabulary in (4096, 8192)
    ]


def test_a_whole_run(capsys):
    [row] = lines(capsys, "--series", "forget-set", "--items", "20")
    assert (row["x"], row["steps"], row["epochs"]) == (40, 4, 2)
    assert min(row["plan_seconds"], row["tokenize_seconds"], row["epoch_seconds"]) > 0
    assert row["tokens"] > 40 * 2 * 3 * 20  # of three views


@pytest.mark.slow
def test_the_first_step_of_a_run_is_a_warm_up(monkeypatch):
    setting = replace(step_setting(scaling._parser().parse_args(["--device", "cpu"])), shape=SMALL)
    measured = measure_run(setting, 40, 20)
    monkeypatch.setattr("forget_run._train", lambda *_, **__: [_log(9.0), _log(1.0), _log(2.0), _log(3.0)])
    assert measure_run(setting, 40, 20).epoch_seconds == 2.0 * 4 / 2
    assert measured.steps == 4


def _log(seconds: float) -> StepLog:
    return StepLog(1, 1, 0.0, 0.0, 0.0, grad_norm=0.0, lr=0.0, tokens=1, seconds=seconds)


def test_the_same_step_is_measured_with_several_processes(capsys, monkeypatch):
    monkeypatch.setattr(scaling, "measure_processes", lambda setting, count, items: {"seconds": items / count})
    rows = lines(capsys, "--series", "processes", "--items", "8")
    assert [(row["x"], row["seconds"]) for row in rows] == [(1, 8), (2, 4), (4, 2)]


@pytest.mark.slow
def test_two_processes_share_a_step(monkeypatch, tmp_path):
    def torchrun(command, **_):
        assert command[:6] == [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        first, second = run_group(tmp_path, 2, run_program, command[6:])
        return subprocess.CompletedProcess(command, first.code or second.code, first.output, second.output)

    monkeypatch.setattr(several_processes.subprocess, "run", torchrun)
    setting = replace(step_setting(scaling._parser().parse_args(["--device", "cpu", "--repeats", "1"])))
    measured = measure_processes(setting, 2, 2)
    assert "failed" not in measured, measured
    assert measured["seconds"] > 0
    assert measured["tokens"] > 0
    assert measured["threads"] == 1


def test_what_does_not_fit_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(scaling, "measure_in_subprocess", lambda *_: "does not fit")
    assert [row["failed"] for row in lines(capsys, "--series", "tokens")] == ["does not fit"] * 2


def test_unknown_method_is_refused(capsys):
    assert scaling.main(["--method", "em+gd", "--device", "cpu"]) == 2
    assert "did you mean 'me+gd'" in capsys.readouterr().err


def test_a_call_in_a_subprocess():
    assert isolation.run_in_subprocess(divmod, 7, 2) == (3, 1)
