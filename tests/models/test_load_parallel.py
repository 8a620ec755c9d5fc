"""Models of several processes: in shards that each reads on its own, they compute what the whole model does."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from efface import distributed
from efface.evaluation.config import EvaluateConfig
from efface.models import load_parallel as module
from efface.models.load import load_model
from efface.models.load_parallel import is_evaluation_sharded, load_to_evaluate, load_to_train
from efface.run.pipeline import unlearn
from efface.train.config import TrainConfig
from efface.train.distribution.parallel import ParallelModel
from support import sharded_runs
from support.processes import run_group

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder that two processes leave."""
    folder = tmp_path_factory.mktemp("two")
    for ended in run_group(tmp_path_factory.mktemp("logs"), 2, sharded_runs.work, folder):
        assert ended.code == 0, ended.output[-3000:]
    return folder


@pytest.mark.slow
def test_a_sharded_model_gives_the_outputs_of_the_whole_one(two):
    found = json.loads((two / "answers.json").read_text(encoding="utf-8"))
    expected = sharded_runs.answers(ParallelModel(load_model(sharded_runs.MODEL, dtype=torch.float32, device=CPU)))
    assert found["outputs"] == expected["outputs"]
    for some, others in zip(found["logprobs"], expected["logprobs"], strict=True):
        assert some == pytest.approx(others, abs=1e-4)
    assert found["largest_share"] == pytest.approx(0.5, abs=0.01)
    assert found["kept_buffers"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sharded_runs.RUNS)
def test_a_sharded_run_leaves_what_one_process_leaves(two, tmp_path, name):
    unlearn(sharded_runs.config(name), tmp_path / name)
    losses = [
        [json.loads(line)["loss"] for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        for folder in (two, tmp_path)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    files = {path.relative_to(tmp_path) for path in (tmp_path / name).rglob("*") if path.is_file()}
    assert {path.relative_to(two) for path in (two / name).rglob("*") if path.is_file()} == files
    for path in (path for path in files if path.suffix == ".safetensors"):
        mine, theirs = load_file(two / path), load_file(tmp_path / path)
        assert mine.keys() == theirs.keys()
        # AdamW amplifies rounding where gradients are tiny
        assert max(float((mine[key] - theirs[key]).abs().max()) for key in mine) < 1e-4, path
    for path in (path for path in files if path.name in ("config.json", "adapter_config.json")):
        assert json.loads((two / path).read_text()) == json.loads((tmp_path / path).read_text())


def test_one_process_loads_the_whole_model(source):
    config = TrainConfig(sharding="fsdp2")
    loaded = load_to_train(source, config, CPU)
    assert loaded.skeleton is None
    assert loaded.model.dtype == torch.float32
    evaluated = load_to_evaluate(source, EvaluateConfig(sharding="fsdp2"), dtype=torch.bfloat16, device=CPU)
    assert type(evaluated) is ParallelModel
    assert evaluated.model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("sharding", "free", "expected"),
    [("none", 0, False), ("fsdp2", 1 << 60, True), ("auto", 1 << 60, False), ("auto", 1 << 10, True)],
)
def test_evaluation_is_sharded_where_the_model_does_not_fit(source, monkeypatch, sharding, free, expected):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(module, "free_memory", lambda _: free)
    config = EvaluateConfig(sharding=sharding)
    assert is_evaluation_sharded(source, config, dtype=torch.float32, device=CPU) is expected


def test_processes_of_one_machine_share_its_memory(source, monkeypatch):
    whole = sum(each.nbytes for each in load_model(source, dtype=torch.float32, device=CPU).parameters())
    monkeypatch.setattr(distributed, "world_size", lambda: 4)
    monkeypatch.setattr(module, "free_memory", lambda _: 4 * whole)
    for local, expected in ((1, False), (4, True)):
        monkeypatch.setattr(distributed, "local_world_size", lambda count=local: count)
        assert is_evaluation_sharded(source, EvaluateConfig(), dtype=torch.float32, device=CPU) is expected
