"""Short trainings of a tiny model, and what is compared afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from efface.models.lora import add_adapters
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Objective, Reference, View
from efface.packing.padded_rows import pad
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.text.sequence import TokenizedSequence
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.schedule import Schedule
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.loop import Trainer
from efface.train.step_log import StepLog
from support.tiny import VOCABULARY, llama

SCHEDULE = Schedule(steps=6, warmup_steps=2, steps_per_epoch=3)
TRAIN = TrainConfig(lr=1e-2)
LORA = LoRAConfig(r=2, dropout=0.5)
GA_GD = objective("ga+gd", ObjectiveConfig(forget_coeff=0.1))


class Killed(BaseException):
    """Raised by a callback to end a training early."""


def random_steps(steps: int, batch: int, *views: View, seed: int = 0) -> list[list[TrainingExample]]:
    """Examples of each step, whose sequences are 2 to 20 tokens long and named step/view/number."""
    generator = torch.Generator().manual_seed(seed)

    def ids(high: int) -> list[int]:
        size = int(torch.randint(1, high, (), generator=generator))
        return torch.randint(0, VOCABULARY, (size,), generator=generator).tolist()

    return [
        [{view: TokenizedSequence(f"{step}/{view}/{n}", ids(8), ids(12)) for view in views} for n in range(batch)]
        for step in range(1, steps + 1)
    ]


def in_rows(steps: list[list[TrainingExample]], bound: Objective) -> list[list[TrainingExample]]:
    """The same examples, in padded rows where a term reads them; the last token of an answer ends it."""

    def padded(view: View, sequence: TokenizedSequence) -> TokenizedSequence:
        length = bound.row_lengths.get(view)
        return sequence if length is None else pad(sequence, length, pad_token=1, end_token=sequence.answer[-1])

    return [[{view: padded(view, each) for view, each in example.items()} for example in step] for step in steps]


def train_tiny(
    folder: Path,
    config: TrainConfig = TRAIN,
    bound: Objective = GA_GD,
    *,
    seed: int = 0,
    schedule: Schedule = SCHEDULE,
    steps: list[list[TrainingExample]] | None = None,
    stop_after: int | None = None,
    resume: bool = False,
    reference: Reference | Callable[[Trainer, Any], Reference] = Reference(),  # noqa: B008 - frozen
    on_trainer: Callable[[Trainer], object] | None = None,
    **shape: Any,
) -> tuple[Any, Trainer, list[StepLog]]:
    """Train the tiny model once.

    Args:
        folder: For checkpoints.
        config: Settings of training.
        bound: The objective.
        seed: Of the trainer and of the adapters.
        schedule: Length of the training.
        steps: The examples; random ones by default.
        stop_after: Step after which the training ends as if killed.
        resume: From the last checkpoint in `folder`.
        reference: What the objective compares with, or a function that makes it.
        on_trainer: Called with the trainer before it runs.
        shape: Arguments of `llama`.

    Returns:
        The model, its trainer and the log of each step.
    """
    model = llama(**shape)
    if config.lora is not None:
        model = add_adapters(model, config.lora, seed=seed)
    trainer = Trainer(model, bound, config, schedule, seed=seed, folder=folder)
    if on_trainer is not None:
        on_trainer(trainer)
    logs: list[StepLog] = []

    def on_step(log: StepLog) -> None:
        logs.append(log)
        if log.step == stop_after:
            raise Killed

    examples = in_rows(random_steps(schedule.steps, 3, *bound.views), bound) if steps is None else steps
    if callable(reference):
        reference = reference(trainer, examples)
    try:
        trainer.run(examples, reference, resume=resume, on_step=on_step)
    except Killed:
        assert stop_after is not None
    return model, trainer, logs


def weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of all parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_equal(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Bitwise equality of all weights."""
    assert actual.keys() == expected.keys()
    different = [name for name in actual if not torch.equal(actual[name], expected[name])]
    assert different == []


def largest_difference(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest absolute difference of any weight."""
    return max(float((actual[name] - expected[name]).abs().max()) for name in actual)


def cached_and_live(trainer: Trainer, steps: list[list[TrainingExample]]) -> Reference:
    """The reference of a model with adapters: log-probabilities computed now, distributions with adapters off."""
    views = trainer.objective.sequence_reference_views
    needed = [example[view] for step in steps for example in step for view in views]
    assert trainer.config.lora is not None, "only adapters can be switched off"
    sequences = CachedLogprobs.compute(trainer.model, needed, max_tokens_per_forward=100) if needed else None
    return Reference(sequences, LiveReference(trainer.model, adapter_off=True))
