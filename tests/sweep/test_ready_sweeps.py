"""The specs in examples/sweeps: what they ask for, and that the benchmark's data bear it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.resolve import resolve_config
from efface.objectives.config import METHODS
from efface.sweep.dry_run import dry_run_sweep
from efface.sweep.spec import combinations, read_spec, target_config

READY = Path(__file__).parents[2] / "examples" / "sweeps"
MODEL = Path(__file__).parents[1] / "golden" / "model"
PAPER = ("ga+gd", "ga+kl", "npo+gd", "npo+kl", "me+gd", "dpo+gd", "dpo+kl", "idk+gd", "idk+ap")


def test_the_papers_grid() -> None:
    spec = read_spec(READY / "tofu.yaml", ["target.model=m", "text.format=llama2", "target.text.format=llama2"])
    found = combinations(spec, target="made")
    methods = Counter(point.config.method for point in found)
    assert methods == dict.fromkeys((*PAPER, "idk+kl"), 9)
    assert methods.keys() <= set(METHODS)
    for point in found:
        pairs = [f"{key}={value}" for key, value in point.values.items()]
        assert point.config == resolve_config(RunConfig, None, [*pairs, "model=made", "text.format=llama2"])
    assert target_config(spec) == resolve_config(FinetuneConfig, "tofu-forget01", ["model=m", "text.format=llama2"])
    assert spec.baselines == ("retrained", "random")


def test_the_continual_queue() -> None:
    spec = read_spec(READY / "continual.yaml", ["target.model=m"])
    queues = Counter()
    for point in combinations(spec, target="made"):
        queue = point.config.continual
        assert queue is not None
        assert queue.requests == tuple(range(1, 11))
        assert point.config.data.split == "forget01"
        queues[point.config.method, queue.reference] += 1
    assert queues == {
        ("npo+gd", "previous"): 3,
        ("npo+gd", "first"): 3,
        ("me+gd", "previous"): 3,
        ("idk+ap", "previous"): 3,
    }
    assert target_config(spec) == target_config(read_spec(READY / "tofu.yaml", ["target.model=m"]))


@pytest.mark.parametrize(("name", "runs", "lines"), [("tofu", 90, 6), ("continual", 12, 0)])
def test_on_the_data(shared: Path, tmp_path: Path, name: str, runs: int, lines: int) -> None:
    pairs = [f"target.model={MODEL}", "evaluate.embedder=none", "evaluate.judge=none", "device=cpu"]
    found = dry_run_sweep(read_spec(READY / f"{name}.yaml", pairs), tmp_path / "all", data_dir=shared / "data")
    assert found.target is not None
    assert found.counts() == {"to make": runs}
    assert len(found.baselines) == lines
    assert not (tmp_path / "all").exists()
