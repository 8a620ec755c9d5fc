"""Fixtures of tests that run on a tiny model: a run takes a second. Imported by the conftest.py of several folders."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.artifacts import METRICS, Manifest, Partial, Results, Scores, SetScores
from support import killing, processes

GOLDEN = Path(__file__).parents[1] / "golden" / "model"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The tiny models here are slower with more, and their last digits depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[torch.dtype], Path]:
    """The folder of the golden numbers' tiny Llama in a dtype, with its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def make(dtype: torch.dtype) -> Path:
        folder = tmp_path_factory.mktemp("models") / str(dtype).removeprefix("torch.")
        AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=dtype).save_pretrained(folder)
        AutoTokenizer.from_pretrained(GOLDEN).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def source(model_in: Callable[[torch.dtype], Path]) -> Path:
    """The tiny model in float32; not to be changed."""
    return model_in(torch.float32)


@pytest.fixture(scope="session")
def settings(source: Path) -> dict[str, Any]:
    """A run of 8 steps: 20 questions to forget, few of them scored."""
    return {
        "method": "me+gd",
        "model": str(source),
        "data": {"source": "synthetic-authors", "authors": 3, "forget_authors": 1, "retain_evaluation": 3},
        "text": {"format": "plain"},
        "train": {"lr": 1e-3, "epochs": 2, "batch_size": 5, "warmup_steps": 0, "save_steps": 2},
        "evaluate": {"embedder": "none", "judge": "key-facts", "max_new_tokens": 3, "limit": 3},
    }


@pytest.fixture(scope="session")
def queue_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Three requests of 4 steps each; the model of each is kept."""
    return {
        **settings,
        "method": "npo+kl",
        "data": {**settings["data"], "authors": 4},
        "train": {**settings["train"], "epochs": 1},
        "continual": {"requests": [1, 2, 3], "keep_models": "all"},
    }


@pytest.fixture
def files_of_at_most() -> Callable[[int], AbstractContextManager[None]]:
    """As on a full disk: no write can extend a file beyond so many bytes."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(scope="session")
def child() -> Callable[..., int]:
    """Run the command in a new process, see `killing.efface`; returns its exit code."""
    return lambda *arguments: processes.exit_code(processes.fork(killing.efface, *arguments))


def _scores(value: float | None) -> Scores:
    one = SetScores(n=7, **dict.fromkeys(METRICS, value))
    return Scores(
        model_utility=value,
        model_utility_retain=value,
        forget_efficacy=value,
        partial=Partial(model_utility=value, model_utility_retain=value, forget_efficacy=value, metrics=["rouge"]),
        missing={} if value is not None else {"cosine_similarity": "no embedder | here"},
        embedder=None,
        judge="key-facts",
        sets={"forget": one, "retain": one},
    )


@pytest.fixture
def results() -> Callable[[float | None], Results]:
    """Results whose scores after unlearning are all one number."""
    return lambda value: Results(definition="paper", method="me+gd", before=_scores(0.25), after=_scores(value))


@pytest.fixture
def made() -> Manifest:
    """A manifest of a run that started long ago."""
    return Manifest(
        efface="0.0.9",
        commit="c0ffee",
        command=["efface", "run"],
        seed=3,
        device="cpu",
        precision="float32",
        versions={"python": "3.11.1", "torch": "2.10.0"},
        data={"forget01.json": "a" * 64},
        model="some/model",
        model_sha256="b" * 64,
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:10:00+00:00",
        seconds={"evaluate before": 1.5},
    )
