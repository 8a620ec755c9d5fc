"""One run by two and by four processes over gloo, whole in each or in shards: the results of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from efface.train.config import TrainConfig
from support import several

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo and torchrun on Windows are not supported")
WAYS = [(2, "none"), (2, "fsdp2"), (4, "none"), (4, "fsdp2")]


def torchrun(count: int, folder: Path, sharding: str, what: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    tests = Path(several.__file__).parents[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    return subprocess.run(
        [*command, "--standalone", several.__file__, str(folder), sharding, what],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Weights and logs of the same trainings in this process, made once."""
    folder = tmp_path_factory.mktemp("alone")
    made = {name: several.train(*case, folder / name) for name, case in several.CASES.items()}
    plain = TrainConfig(lr=1e-3)
    made[several.FEW] = several.train("ga+gd", plain, torch.float64, folder / "few", batch=3)
    made["resumed"] = several.train("ga+gd", plain, torch.float64, folder / "killed")
    return made


def assert_like_one_process(name, weights, logs, theirs, rows):
    """`logs` are those of the last steps, if the training was cut before."""
    exact = "float32" not in name
    assert theirs.keys() == weights.keys(), name
    gap = max(float((theirs[each] - weights[each]).abs().max()) for each in weights)
    assert gap < (1e-9 if exact else 1e-5), name
    assert [row["step"] for row in rows] == [log.step for log in logs], name
    for row, log in zip(rows, logs, strict=True):
        assert row["tokens"] == log.tokens
        for term in ("loss", "forget", "retain", "grad_norm"):
            # an untrained model's ME is a small difference of large numbers, which float32 rounds away
            close = {"rel": 1e-9, "abs": 1e-9} if exact else {"rel": 1e-5, "abs": 1e-6}
            assert row[term] == pytest.approx(getattr(log, term), **close), name


# One test for each way, not one for each case: whichever worker gets it, the processes are started once.
@pytest.mark.parametrize(("count", "sharding"), WAYS)
def test_the_same_weights_and_losses_after_twenty_steps(tmp_path, alone, count, sharding):
    folder = tmp_path / "cases"
    done = torchrun(count, folder, sharding, "all")
    assert done.returncode == 0, done.stderr[-3000:]
    for name, (weights, logs) in alone.items():
        rows = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        seen = logs[several.KILLED_AT - 1 :] if name == "resumed" else logs  # from the last checkpoint before the kill
        assert_like_one_process(name, weights, seen, load_file(folder / f"{name}.safetensors"), rows)

    config = TrainConfig(lr=1e-3, save_steps=3, sharding=sharding)
    resumed, logs = several.train("ga+gd", config, torch.float64, folder / "runs" / "killed", resume=True)
    assert [log.step for log in logs] == [19, 20]  # one process goes on where several stopped
    weights, _ = alone["resumed"]
    assert max(float((resumed[name] - weights[name]).abs().max()) for name in weights) < 1e-9


@pytest.mark.parametrize("sharding", ["none", "fsdp2"])
def test_a_process_that_dies_ends_the_run_in_words_and_a_checkpoint_stays(tmp_path, sharding):
    folder = tmp_path / "run"
    done = torchrun(2, folder, sharding, "dies")
    assert done.returncode != 0
    assert "process 0 of 2" in done.stderr
    assert "go on with --resume" in done.stderr
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-000006"]
