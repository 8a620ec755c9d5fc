"""`train.optimizer=auto`: resolved once per run, by what fits into the memory of a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from efface.artifacts import Manifest
from efface.errors import EffaceError
from efface.models import auto_optimizer as module
from efface.models.auto_optimizer import choose_optimizer, resolve_optimizer
from efface.models.memory_estimate import estimate_training_memory
from efface.train.batches.memory_use import activation_bytes
from efface.train.config import LoRAConfig, SAMConfig, TrainConfig
from efface.train.optimizer import optimizer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GIB = 2**30
AUTO = TrainConfig()
LLAMA_2_7B = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)


@pytest.fixture(autouse=True)
def everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (module, optimizer):
        monkeypatch.setattr(each, "adamw8bit_unsupported_reason", lambda device: None)


@pytest.mark.parametrize(("free", "kind"), [(79, "adamw8bit"), (139, "adamw")])
def test_seven_billion_parameters(free: int, kind: str) -> None:
    assert choose_optimizer(AUTO, LLAMA_2_7B, CUDA, free=free * GIB) == kind


def test_the_limit() -> None:
    """Weights, gradients, moments and copies, and the smallest forward with chunks of logits in 85 %."""
    state = estimate_training_memory(LLAMA_2_7B, TrainConfig(optimizer="adamw"), "cuda")
    activations = 512 * activation_bytes(LLAMA_2_7B, AUTO, "cuda", checkpointing=True)
    smallest = int((activations + 5 * 256 * 2**20) / 0.85) + 1
    least = 16 * state.parameters + state.copies + smallest
    assert state.total + smallest == pytest.approx(least, rel=1e-6)
    assert choose_optimizer(AUTO, LLAMA_2_7B, CUDA, free=state.total + smallest) == "adamw"
    assert choose_optimizer(AUTO, LLAMA_2_7B, CUDA, free=state.total + smallest - 3) == "adamw8bit"


@pytest.mark.parametrize(
    ("train", "device"),
    [
        (AUTO, CPU),
        (TrainConfig(lora=LoRAConfig()), CUDA),
        (TrainConfig(precision="float32"), CUDA),
        (TrainConfig(sharding="fsdp2"), CUDA),
        (TrainConfig(sam=SAMConfig(rho=0.01)), CUDA),
        (TrainConfig(optimizer="adamw"), CUDA),
    ],
    ids=["cpu", "adapters", "float32", "sharded", "SAM", "set explicitly"],
)
def test_float32_states_stay(train: TrainConfig, device: torch.device) -> None:
    assert choose_optimizer(train, LLAMA_2_7B, device, free=0) == "adamw"


def test_without_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (module, optimizer):
        monkeypatch.setattr(each, "adamw8bit_unsupported_reason", lambda device: "torchao")
    assert resolve_optimizer(AUTO, LLAMA_2_7B, CPU, earlier=None).optimizer == "adamw"
    assert choose_optimizer(AUTO, LLAMA_2_7B, CUDA, free=0) == "adamw"
    with pytest.raises(EffaceError, match="adamw8bit needs torchao"):
        resolve_optimizer(TrainConfig(optimizer="adamw8bit"), LLAMA_2_7B, CPU, earlier=None)


@pytest.mark.parametrize(
    ("recorded", "optimizer_used"), [("adamw8bit", "adamw8bit"), ("adamw", "adamw"), (None, "adamw")]
)
def test_a_resumed_run_keeps_what_it_was_started_with(
    made: Manifest, recorded: str | None, optimizer_used: str
) -> None:
    earlier = made.model_copy(update={"optimizer": recorded})
    assert resolve_optimizer(AUTO, LLAMA_2_7B, CPU, earlier=earlier).optimizer == optimizer_used


def test_all_processes_use_the_least_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory: list[Any] = []

    def choose(train: TrainConfig, model_config: Any, device: torch.device, *, free: int) -> str:
        free_memory.append(free)
        return "adamw"

    monkeypatch.setattr(module, "choose_optimizer", choose)
    monkeypatch.setattr(module.distributed, "all_gather", lambda free: [free, 7])
    resolve_optimizer(AUTO, LLAMA_2_7B, CPU, earlier=None)
    assert free_memory == [7]
