"""A model of a few thousand weights, and examples for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.train.batches.micro_batches import TrainingExample
from support import training
from support.tiny import llama


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tiny models are slower with more threads, and their last digits depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_llama() -> Callable[..., Any]:
    """A Llama with weights from a seed; the same at every call."""
    return llama


@pytest.fixture
def random_steps() -> Callable[..., list[list[TrainingExample]]]:
    """As `support.training.random_steps`."""
    return training.random_steps


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Any]:
    """As `support.training.train_tiny`, in a temporary folder unless `folder` is given."""
    return partial(_train, tmp_path)


def _train(default: Path, *arguments: Any, folder: Path | None = None, **settings: Any) -> Any:
    return training.train_tiny(folder or default, *arguments, **settings)
