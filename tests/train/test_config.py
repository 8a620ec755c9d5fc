"""Settings of training that exclude each other, and the precision that they mean."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from efface.train.config import LoRAConfig, TrainConfig


@pytest.mark.parametrize(
    ("settings", "cpu", "cuda"),
    [
        ({}, False, True),
        ({"optimizer": "adamw8bit"}, True, True),
        ({"precision": "bf16"}, True, True),
        ({"precision": "float32"}, False, False),
    ],
)
def test_bf16(settings: Any, cpu: bool, cuda: bool) -> None:
    config = TrainConfig(**settings)
    assert (config.bf16_on("cpu"), config.bf16_on("cuda")) == (cpu, cuda)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"optimizer": "adamw8bit", "lora": LoRAConfig()}, r"adamw8bit .*lora.*leave one"),
        ({"optimizer": "adamw8bit", "precision": "float32"}, r"adamw8bit .*leave precision=float32 out"),
        ({"parameters": "layers.(1"}, r"parameters='layers.\(1' is no regular expression"),
        ({"parameters": "a{4294967295}"}, "is no regular expression: the repetition number is too large"),
        ({"parameters": "(" * 500 + ")" * 500}, "is no regular expression"),
        ({"parameters": ".*", "lora": LoRAConfig()}, r"parameters .*lora.*leave one"),
        ({"anchor": "retain", "pairing": "published"}, r"pairing=published .*leave anchor=retain out"),
        ({"schedule": "step"}, "schedule"),
        ({"max_steps": 0}, "max_steps"),
        ({"sharding": "zero3", "lora": LoRAConfig()}, r"sharding=zero3 .*lora.*fsdp2"),
        ({"sharding": "zero3", "optimizer": "adamw8bit"}, r"zero3 .*fsdp2 with adamw8bit"),
        ({"sharding": "zero3", "sam": {"rho": 0.1}}, r"sam\.rho .*sharding"),
        ({"lr": 1e31}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"epochs": 0}, "epochs"),
        ({"memory_gib": 1e308}, "memory_gib"),
        ({"save_minutes": 1e308}, "save_minutes"),
        ({"tracker": "notebook"}, "tensorboard"),
        ({"learning_rate": 1}, "learning_rate"),
        ({"average_over": "micro-batch"}, r"average_over=micro-batch .*give micro_batch_size"),
        ({"micro_batch_size": 4}, r"micro_batch_size=4 .*average_over=batch .*max_tokens_per_forward"),
        ({"average_over": "micro-batch", "micro_batch_size": 64}, r"micro_batch_size=64 .*batch_size=32.*change one"),
    ],
)
def test_what_is_refused(settings: Any, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        TrainConfig(**settings)
