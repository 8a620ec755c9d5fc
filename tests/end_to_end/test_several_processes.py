"""The whole command by two processes: the files of one process, and every message once."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors.torch import load_file

from efface.cli import main
from support.processes import run_group, run_program

SETTINGS = [
    "data.source=synthetic-authors",
    "data.authors=6",
    "data.forget_authors=2",
    "method=dpo+kl",
    f"model={Path(__file__).parents[1] / 'golden' / 'model'}",
    "text.format=plain",
    "train.epochs=2",
    "train.batch_size=8",
    "train.lr=1e-3",
    "evaluate.max_new_tokens=8",
    "evaluate.embedder=none",
    "evaluate.judge=key-facts",
    "evaluate.every=epoch",
    "train.watch=true",
]


ENGINES = [
    "fsdp2",
    pytest.param(
        "zero3", marks=pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed")
    ),
]


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_leave_what_one_leaves(tmp_path, monkeypatch, engine):
    sharded = [f"train.sharding={engine}", "evaluate.sharding=fsdp2"]
    arguments = ["-m", "efface", "run", *SETTINGS, *sharded, "--out", str(tmp_path / "two")]
    first, second = run_group(tmp_path, 2, run_program, arguments)
    assert (first.code, second.code) == (0, 0), first.output[-3000:] + second.output[-3000:]
    assert first.output.count("unlearning with dpo+kl") == 1
    assert "unlearning with dpo+kl" not in second.output
    monkeypatch.setattr("sys.argv", ["efface", "run", *SETTINGS, "--out", str(tmp_path / "one")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert (tmp_path / "two" / "model" / "config.json").is_file()
    assert not (tmp_path / "two" / "checkpoints").exists()
    lines = [rows(tmp_path / name / "metrics.jsonl") for name in ("two", "one")]
    assert sum("epoch" in line for line in lines[0]) == 3
    for mine, theirs in zip(*lines, strict=True):
        if "epoch" in mine:  # what train.watch measured
            assert mine == pytest.approx(theirs, abs=1e-3)
        else:
            assert mine["tokens"] == theirs["tokens"]
            assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("two", "one")]
    assert weights[0].keys() == weights[1].keys()
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 1e-4
    for stage in ("before", "epochs/001", "after"):
        for name in ("retain", "forget"):
            mine, theirs = (rows(tmp_path / run / "records" / stage / f"{name}.jsonl") for run in ("two", "one"))
            assert [row["id"] for row in mine] == [row["id"] for row in theirs]
            if stage == "before":
                assert [row["output"] for row in mine] == [row["output"] for row in theirs]
            for one, other in zip(mine, theirs, strict=True):
                assert one["answer_logprobs"] == pytest.approx(other["answer_logprobs"], abs=1e-3)
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["device"].startswith("2 processes, each on ")


def test_torchrun_prints_an_error_once(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "efface"]
    arguments = ["run", *SETTINGS, "train.batch_size=0", "--out", str(tmp_path / "run")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode != 0
    assert done.stderr.count("train.batch_size") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["score", "demo", "doctor"])
def test_other_commands_work_in_one_process(monkeypatch, capsys, command):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr("sys.argv", ["efface", command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"efface {command} works in one process; start it without torchrun" in capsys.readouterr().err
