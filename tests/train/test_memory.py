"""The token budget follows the free memory and the model's shape."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from efface.text.template import Encoded
from efface.train import memory
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.memory import Budget, activation_bytes, estimate
from efface.train.step import micro_batches

GIB = 2**30


@pytest.fixture
def host(monkeypatch, tmp_path):
    """Set the host's free memory; no container unless the test writes its files into the folder returned."""

    def free(size):
        monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=size))

    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    free(8 * GIB)
    return SimpleNamespace(free=free, cgroup=tmp_path)


def test_by_hand(host, tiny_llama):
    model = tiny_llama()
    weights = sum(p.numel() for p in model.parameters())
    per_token = 2 * (10 * 16 + 5 * 24) * 4  # layers x values x bytes
    assert estimate(model, TrainConfig()) == (8 * GIB - 12 * weights) // 2 // per_token


def test_half_precision_and_recomputing_leave_room_for_more(host, tiny_llama):
    model = tiny_llama()
    full = estimate(model, TrainConfig())
    assert estimate(model, TrainConfig(precision="bf16")) == pytest.approx(2 * full, abs=2)
    assert estimate(model, TrainConfig(gradient_checkpointing=True)) > 1.5 * full


def test_a_container_limit_counts(host, tiny_llama):
    model = tiny_llama()
    full = estimate(model, TrainConfig())
    (host.cgroup / "memory.max").write_text("max\n")
    (host.cgroup / "memory.current").write_text("123\n")
    assert estimate(model, TrainConfig()) == full
    (host.cgroup / "memory.max").write_text(f"{3 * GIB}\n")
    (host.cgroup / "memory.current").write_text(f"{GIB}\n")
    assert estimate(model, TrainConfig()) == pytest.approx(full / 4, rel=1e-3)


def test_never_so_small_that_nothing_gets_done(host, tiny_llama):
    host.free(1000)
    assert estimate(tiny_llama(), TrainConfig()) == 512


def test_halving_starts_from_what_there_is_to_cut():
    """A budget far beyond the batch would otherwise be tried again and again with the same single part."""
    examples = [{"retain": Encoded(str(n), [1] * 5, [1] * 5)} for n in range(8)]
    budget = Budget(1_000_000)
    parts = []
    for _ in range(3):
        budget.halve(examples)
        parts.append(len(list(micro_batches(examples, budget.tokens))))
    assert parts == [2, 4, 8]


def test_kept_in_checkpoints():
    budget = Budget(7)
    budget.load_state_dict(Budget(640).state_dict())
    assert budget.tokens == 640


def test_files_that_a_container_keeps_in_memory_make_way(host):
    (host.cgroup / "memory.max").write_text(f"{3 * GIB}\n")
    (host.cgroup / "memory.current").write_text(f"{2 * GIB}\n")
    (host.cgroup / "memory.stat").write_text(f"anon 7\nactive_file 9\ninactive_file {GIB}\nworkingset 3\n")
    assert memory.free_memory(torch.device("cpu")) == 2 * GIB


def test_adapters_drop_inputs_of_their_own(tiny_llama):
    shape = tiny_llama().config
    whole = activation_bytes(shape, TrainConfig(), "cpu")
    assert activation_bytes(shape, TrainConfig(lora=LoRAConfig(dropout=0)), "cpu") == whole
    assert activation_bytes(shape, TrainConfig(lora=LoRAConfig()), "cpu") == whole + 2 * (6 * 16 + 24) * 4
