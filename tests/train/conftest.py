"""A model of a few thousand weights, and examples for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from efface.objectives.terms import View
from efface.text.template import Encoded
from efface.train.step import Example
from support.tiny import VOCABULARY, llama


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tiny models here are slower with more, and their last digits depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_llama() -> Callable[..., Any]:
    """A Llama with weights from a seed; the same at every call."""

    return llama


@pytest.fixture
def random_steps() -> Callable[..., list[list[Example]]]:
    """Steps of examples whose sequences are 2 to 20 tokens long and named step/view/number."""

    def make(steps: int, batch: int, *views: View, seed: int = 0) -> list[list[Example]]:
        generator = torch.Generator().manual_seed(seed)

        def ids(high: int) -> list[int]:
            size = int(torch.randint(1, high, (), generator=generator))
            return torch.randint(0, VOCABULARY, (size,), generator=generator).tolist()

        return [
            [{view: Encoded(f"{step}/{view}/{n}", ids(8), ids(12)) for view in views} for n in range(batch)]
            for step in range(1, steps + 1)
        ]

    return make
