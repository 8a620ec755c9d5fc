"""Two and four processes over gloo, replicated and sharded: the results of one process."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from efface.train.checkpoints.checkpoint_files import StoredTensors
from efface.train.config import TrainConfig
from efface.train.distribution.parallel import ParallelModel
from efface.train.optimizer import adamw8bit
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason
from support import processes, several
from support.processes import Ended

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo on Windows is not supported")
NO_8BIT = adamw8bit_unsupported_reason(torch.device("cpu"))
SETUPS = [(2, "none"), (2, "fsdp2"), (4, "none"), (4, "fsdp2")]


def run_group(folder: Path, count: int, sharding: str, what: str) -> list[Ended]:
    folder.mkdir()
    return processes.run_group(folder, count, several.work, folder, sharding, what)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Weights and logs of the same trainings in this process, by name, made once."""
    folder = tmp_path_factory.mktemp("alone")
    plain = ("ga+gd", TrainConfig(lr=1e-3), torch.float64)
    known = several.CASES | several.REPLICATED | {several.FEW: plain, "resumed": plain}
    return cache(lambda name: several.train(*known[name], folder / name, batch=3 if name == several.FEW else 7))


def assert_like_one_process(name, weights, logs, distributed_weights, rows):
    """`logs` are those of the last steps, if the training was resumed."""
    half = "bf16" in name
    exact = not half and "float32" not in name
    assert distributed_weights.keys() == weights.keys(), name
    gap = max(float((distributed_weights[each] - weights[each]).abs().max()) for each in weights)
    assert gap < (1e-9 if exact else 3e-3 if half else 1e-5), name
    assert [row["step"] for row in rows] == [log.step for log in logs], name
    for row, log in zip(rows, logs, strict=True):
        assert row["tokens"] == log.tokens
        for term in ("loss", "forget", "retain", "grad_norm"):
            # an untrained model's ME is a small difference of large numbers, which float32 rounds away
            close = {"rel": 1e-9, "abs": 1e-9} if exact else {"rel": 2e-2 if half else 1e-5, "abs": 1e-6}
            assert row[term] == pytest.approx(getattr(log, term), **close), name


def test_two_processes_train_as_one(tmp_path, alone):
    folder = tmp_path / "quick"
    for ended in run_group(folder, 2, "fsdp2", "quick"):
        assert ended.code == 0, ended.output[-3000:]
    rows = json.loads((folder / f"{several.QUICK}.json").read_text(encoding="utf-8"))
    weights = load_file(folder / f"{several.QUICK}.safetensors")
    assert_like_one_process(several.QUICK, *alone(several.QUICK), weights, rows)


# One test per setup, not per case: the processes are started once.
@pytest.mark.slow
@pytest.mark.parametrize(("count", "sharding"), SETUPS)
def test_the_same_weights_and_losses_after_eleven_steps(tmp_path, alone, count, sharding):
    folder = tmp_path / "cases"
    for ended in run_group(folder, count, sharding, "all"):
        assert ended.code == 0, ended.output[-3000:]
    for name in several.names(count, sharding):
        weights, logs = alone(name)
        rows = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        expected = logs[several.KILLED_AT - 1 :] if name == "resumed" else logs  # from the last checkpoint on
        assert_like_one_process(name, weights, expected, load_file(folder / f"{name}.safetensors"), rows)

    config = TrainConfig(lr=1e-3, save_steps=3, sharding=sharding)
    resumed, logs = several.train("ga+gd", config, torch.float64, folder / "runs" / "killed", resume=True)
    assert [log.step for log in logs] == [10, 11]  # one process resumes where several stopped
    weights, _ = alone("resumed")
    assert max(float((resumed[name] - weights[name]).abs().max()) for name in weights) < 1e-9


@pytest.mark.slow
@pytest.mark.skipif(NO_8BIT is not None, reason=f"8-bit AdamW needs {NO_8BIT}")
def test_8bit_moments_in_shards_are_those_of_one_process(tmp_path, monkeypatch):
    folder = tmp_path / "eight"
    for ended in run_group(folder, 2, "fsdp2", "eight"):
        assert ended.code == 0, ended.output[-3000:]
    monkeypatch.setattr(adamw8bit, "BLOCK", 8)
    monkeypatch.setattr(adamw8bit, "_MIN_8BIT", 8)
    with torch.compiler.set_stance("force_eager"):
        weights, logs = several.train("ga+gd", several.EIGHT, torch.float32, tmp_path / "alone")
        resumed, last_logs = several.train(
            "ga+gd", several.EIGHT, torch.float32, folder / "runs" / "stopped", resume=True
        )
    for name, expected in (("plain", logs), ("resumed", logs[several.KILLED_AT - 1 :])):
        rows = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert_like_one_process("float32", weights, expected, load_file(folder / f"{name}.safetensors"), rows)
    assert [log.step for log in last_logs] == [10, 11]  # one process resumes where two stopped
    stored = StoredTensors((folder / "runs" / "stopped" / "checkpoints" / "step-000009").glob("optimizer-*"))
    assert stored.read("exp_avg_codes/model.embed_tokens.weight").dtype == torch.uint8
    assert max(float((resumed[name] - weights[name]).detach().abs().max()) for name in weights) < 1e-5


@pytest.mark.parametrize(
    "sharding",
    [
        "none",
        "fsdp2",
        pytest.param(
            "zero3",
            marks=[pytest.mark.slow, pytest.mark.skipif(find_spec("deepspeed") is None, reason="no deepspeed")],
        ),
    ],
)
def test_a_process_that_dies_ends_the_run_with_an_explanation_and_a_checkpoint_stays(tmp_path, sharding):
    folder = tmp_path / "run"
    first, second = run_group(folder, 2, sharding, "dies")
    assert (first.code, second.code) == (1, 3)
    assert "process 0 of 2" in first.output
    assert "--resume" in first.output
    [complete] = (folder / "checkpoints").glob("step-*")
    # the process that died may not have written its shards of the last one
    assert complete.name in (["step-000006"] if sharding == "none" else ["step-000003", "step-000006"])


# One process


def test_one_process_computes_without_communication(tiny_llama):
    model = tiny_llama()
    alone = ParallelModel(model)
    ids = torch.tensor([[1, 2, 3]])
    assert alone.forward(lambda inner: inner) is model
    with alone.gradient_sync(enabled=False):
        alone.forward(lambda inner: inner(ids).logits.sum()).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
    torch.testing.assert_close(alone.grad_norm(), expected)
    assert not alone.forward_no_grad(lambda inner: inner(ids).logits).requires_grad
    assert alone.full_model() is model
    model.lm_head.weight.requires_grad_(False)
    trained = dict(alone.trained_tensors())
    assert "lm_head.weight" not in trained
    assert len(trained) == len(list(model.parameters())) - 1
