"""A model of a few thousand weights, and examples for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from efface.models.lora import add_adapters
from efface.objectives.terms import Reference, View
from efface.text.formatter import TokenizedSequence
from efface.train.loop import Trainer
from efface.train.micro_batches import TrainingExample
from support.tiny import VOCABULARY, llama
from support.trained import GA_GD, PLAN, TRAIN, Killed


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
def random_steps() -> Callable[..., list[list[TrainingExample]]]:
    """Steps of examples whose sequences are 2 to 20 tokens long and named step/view/number."""

    def make(steps: int, batch: int, *views: View, seed: int = 0) -> list[list[TrainingExample]]:
        generator = torch.Generator().manual_seed(seed)

        def ids(high: int) -> list[int]:
            size = int(torch.randint(1, high, (), generator=generator))
            return torch.randint(0, VOCABULARY, (size,), generator=generator).tolist()

        return [
            [{view: TokenizedSequence(f"{step}/{view}/{n}", ids(8), ids(12)) for view in views} for n in range(batch)]
            for step in range(1, steps + 1)
        ]

    return make


@pytest.fixture
def train(tmp_path, tiny_llama, random_steps):
    """Train the tiny model, one call a training; gives the model, its trainer and the log of each step."""

    def run(
        config=TRAIN,
        bound=GA_GD,
        *,
        seed=0,
        plan=PLAN,
        steps=None,
        stop_after=None,
        resume=False,
        folder=tmp_path,
        reference=Reference(),  # noqa: B008 - frozen
        on_trainer=None,
        **shape,
    ):
        model = tiny_llama(**shape)
        if config.lora is not None:
            model = add_adapters(model, config.lora, seed=seed)
        trainer = Trainer(model, bound, config, plan, seed=seed, folder=folder)
        if on_trainer is not None:
            on_trainer(trainer)
        logs = []

        def on_step(log):
            logs.append(log)
            if log.step == stop_after:
                raise Killed

        if steps is None:
            steps = random_steps(plan.steps, 3, *bound.views)
        if callable(reference):
            reference = reference(trainer, steps)
        try:
            trainer.run(steps, reference, resume=resume, on_step=on_step)
        except Killed:
            assert stop_after is not None
        return model, trainer, logs

    return run
