"""A tiny model in memory and the local tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.downstream.config import DownstreamConfig
from support.downstream import cache_in, write_tasks

MODEL = Path(__file__).parents[1] / "golden" / "model"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def local_tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the local tasks; not to be changed."""
    with cache_in(tmp_path_factory.mktemp("data-sets")):
        yield write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture
def local(local_tasks: Path):
    """Settings with the local tasks, few questions each."""

    def make(*tasks: str, **changes: Any) -> DownstreamConfig:
        return DownstreamConfig(**{"tasks": tasks, "include": str(local_tasks), "limit": 4, **changes})

    return make
