"""A tiny model, a run of a second, and child processes that have everything imported when they start."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import resource
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.artifacts import METRICS, Manifest, Partial, Results, Scores, SetScores
from efface.models import open
from efface.models.load import load_model
from efface.run import epoch_snapshots, evaluation_stages, pipeline

HERE = Path(__file__).parent
HEAVY = (
    "efface.demo",
    "accelerate.tracking",
    "peft",
    "rouge_score.rouge_scorer",
    "transformers.generation.utils",
    "transformers.models.llama.modeling_llama",
)
"""What a run imports on its way."""


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

    source = HERE.parent / "golden" / "model"

    def make(dtype: torch.dtype) -> Path:
        folder = tmp_path_factory.mktemp("models") / str(dtype).removeprefix("torch.")
        AutoModelForCausalLM.from_pretrained(source, dtype=dtype).save_pretrained(folder)
        AutoTokenizer.from_pretrained(source).save_pretrained(folder)
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
    """Three requests of 4 steps each, and the model of each is kept."""
    return {
        **settings,
        "method": "npo+kl",
        "data": {**settings["data"], "authors": 4},
        "train": {**settings["train"], "epochs": 1},
        "continual": {"requests": [1, 2, 3], "keep_models": "all"},
    }


@pytest.fixture(scope="module")
def quick_collection() -> Iterator[None]:
    """Runs collect garbage often, which takes half a second with all that the libraries hold: leave that out."""
    for name in HEAVY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def files_of_at_most() -> Callable[[int], AbstractContextManager[None]]:
    """As on a disk that fills up: no write goes beyond so many bytes of a file."""

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
def child() -> Iterator[Callable[..., int]]:
    """Run the command in a new process, see `killing.efface`; gives its exit code.

    The process is forked from one that has imported everything, for imports take longer than these runs.
    """
    sys.path.insert(0, str(HERE))
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killing", *HEAVY])

    import killing

    def call(*arguments: Any) -> int:
        process = context.Process(target=killing.efface, args=arguments)
        process.start()
        process.join(120)
        assert process.exitcode is not None, "the child hangs"
        return process.exitcode

    yield call
    sys.path.remove(str(HERE))


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
        seconds={"evaluate before": 1.5},
    )


@pytest.fixture
def loads(monkeypatch):
    """One entry a load: the model's folder, and how many models are in memory already."""
    found, models = [], []

    def watched(folder, **settings):
        found.append((folder.name, sum(model() is not None for model in models)))
        model = load_model(folder, **settings)
        models.append(weakref.ref(model.get_input_embeddings()))
        vars(model)["cycle"] = model  # as loaders leave them, depending on what they have to import
        return model

    for module in (open, pipeline, evaluation_stages, epoch_snapshots):
        monkeypatch.setattr(module, "load_model", watched)
    gc.disable()  # a model must be gone when it is not needed, not when Python collects
    yield found
    gc.enable()
