"""The specs in examples/sweeps: their combinations, and a dry run on the data of the benchmark."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.resolve import resolve_config
from efface.objectives.config import METHODS
from efface.sweep.dry_run import dry_run_sweep
from efface.sweep.spec import combinations, read_spec, target_config
from support.benchmarks import muse

SPECS = Path(__file__).parents[2] / "examples" / "sweeps"
MODEL = Path(__file__).parents[1] / "golden" / "model"
PAPER = ("ga+gd", "ga+kl", "npo+gd", "npo+kl", "me+gd", "dpo+gd", "dpo+kl", "idk+gd", "idk+ap")


def test_the_papers_grid() -> None:
    spec = read_spec(SPECS / "tofu.yaml", ["target.model=m", "text.format=llama2", "target.text.format=llama2"])
    found = combinations(spec, target="target")
    methods = Counter(combination.config.method for combination in found)
    assert methods == dict.fromkeys((*PAPER, "idk+kl"), 9)
    assert methods.keys() <= set(METHODS)
    for combination in found:
        pairs = [f"{key}={value}" for key, value in combination.values.items()]
        assert combination.config == resolve_config(RunConfig, None, [*pairs, "model=target", "text.format=llama2"])
    assert target_config(spec) == resolve_config(FinetuneConfig, "tofu-forget01", ["model=m", "text.format=llama2"])
    assert spec.baselines == ("retrained", "random")


def test_the_continual_queue() -> None:
    spec = read_spec(SPECS / "continual.yaml", ["target.model=m"])
    queues = Counter[tuple[str, str]]()
    for combination in combinations(spec, target="target"):
        queue = combination.config.continual
        assert queue is not None
        assert queue.requests == tuple(range(1, 11))
        assert combination.config.data.split == "forget01"
        queues[combination.config.method, queue.reference] += 1
    assert queues == {
        ("npo+gd", "previous"): 3,
        ("npo+gd", "first"): 3,
        ("me+gd", "previous"): 3,
        ("idk+ap", "previous"): 3,
    }
    assert target_config(spec) == target_config(read_spec(SPECS / "tofu.yaml", ["target.model=m"]))


def test_all_continual_queues() -> None:
    spec = read_spec(SPECS / "continual-all.yaml", ["target.model=m"])
    queues = Counter[tuple[str | None, str]]()
    with_first = set()
    for combination in combinations(spec, target="target"):
        queue = combination.config.continual
        assert queue is not None
        split = combination.config.data.split
        assert queue.requests == tuple(range(1, 10 if split == "forget10" else 11))
        queues[split, combination.config.method] += 1
        if queue.reference == "first":
            with_first.add(combination.config.method)
    assert queues.keys() == {
        (split, method) for split in ("forget01", "forget05", "forget10") for method in (*PAPER, "idk+kl")
    }
    assert with_first == {"ga+kl", "npo+gd", "npo+kl", "dpo+gd", "dpo+kl", "idk+kl"}
    assert sum(queues.values()) == 144
    assert target_config(spec) == target_config(read_spec(SPECS / "continual.yaml", ["target.model=m"]))


def test_the_papers_grid_on_real_world_people() -> None:
    """Rates and epochs of scripts/real_world in the published code."""
    found = combinations(read_spec(SPECS / "real-world.yaml", ["model=m"]), target=None)
    tried: dict[str, set[tuple[float, int]]] = {}
    for combination in found:
        train = combination.config.train
        assert (combination.config.data.source, combination.config.model) == ("real-world", "m")
        tried.setdefault(combination.config.method, set()).add((train.lr, train.epochs))
    grid = {(lr, epochs) for lr in (1e-5, 2e-6, 5e-6) for epochs in (5, 3)}
    own = {"me+gd": {(5e-6, 5)}, "idk+ap": {(1e-5, 5)}}
    assert tried == {method: own.get(method, grid) for method in (*PAPER, "idk+kl")}
    assert len(found) == 50


def test_the_baselines_of_muse(tmp_path: Path) -> None:
    """Methods and epochs of baselines/scripts/unlearn_news_scal.sh of swj0419/muse_bench."""
    pairs = [f"model={MODEL}", "data.chunk_tokens=32", "evaluate.embedder=none", "evaluate.judge=none", "device=cpu"]
    spec = read_spec(SPECS / "muse.yaml", pairs)
    epochs = {"ga": 1, "ga+gd": 7, "ga+kl": 10, "npo": 1, "npo+gd": 10, "npo+kl": 10}
    found = Counter(
        (each.config.method, each.config.train.epochs, each.config.data.task)
        for each in combinations(spec, target=None)
    )
    assert found == {(method, count, task): 1 for method, count in epochs.items() for task in (1, 2, 3, 4)}
    assert dry_run_sweep(spec, tmp_path / "all", data_dir=muse(tmp_path / "data")).counts() == {"to do": 24}


def test_real_world_on_the_data(shared: Path, tmp_path: Path) -> None:
    pairs = [f"model={MODEL}", "evaluate.embedder=none", "evaluate.judge=none", "device=cpu"]
    found = dry_run_sweep(read_spec(SPECS / "real-world.yaml", pairs), tmp_path / "all", data_dir=shared / "data")
    assert found.target is None
    assert found.counts() == {"to do": 50}


@pytest.mark.parametrize(
    ("name", "runs", "baselines"), [pytest.param("tofu", 90, 6, marks=pytest.mark.slow), ("continual", 12, 0)]
)
def test_on_the_data(shared: Path, tmp_path: Path, name: str, runs: int, baselines: int) -> None:
    pairs = [f"target.model={MODEL}", "evaluate.embedder=none", "evaluate.judge=none", "device=cpu"]
    found = dry_run_sweep(read_spec(SPECS / f"{name}.yaml", pairs), tmp_path / "all", data_dir=shared / "data")
    assert found.target is not None
    assert found.counts() == {"to do": runs}
    assert len(found.baselines) == baselines
    assert not (tmp_path / "all").exists()
