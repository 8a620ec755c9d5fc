"""Data files and folders of queues of requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

CASES: dict[str, dict[str, Any]] = {
    "previous": {},
    "first": {"continual": {"requests": [1, 2], "reference": "first"}},
    "first with adapters": {
        "method": "dpo+kl",
        "train": {"lora": {"r": 2, "dropout": 0.3}},
        "continual": {"requests": [1, 2], "reference": "first"},
    },
    "kept adapter": {
        "method": "dpo+kl",
        "train": {"lora": {"r": 2, "dropout": 0.3}},
        "continual": {"requests": [1, 2], "lora": "keep"},
    },
}
"""What queues compare with -> changes of `queue_settings`."""


def facts(*numbers: int) -> list[dict[str, str]]:
    """One question per number."""
    return [{"question": f"Where was author {n} born?", "answer": f"Author {n} was born in Turku."} for n in numbers]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows as JSON lines; the path as a string."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of the model in a run's folder."""
    [file] = (run / "model").glob("*.safetensors")
    return load_file(file)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether all weights are equal, bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
