"""Four of ten steps with `recipe=published` give the weights of a plain version of the published code."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.objectives.config import PAPER_METHODS, KLConfig, MEConfig, ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.schema import Item, Task
from efface.text.sequence import TokenizedSequence
from efface.train.batches.examples import unlearning_examples
from efface.train.batches.sampler import sample_batches
from efface.train.batches.schedule import make_schedule
from efface.train.config import TrainConfig
from efface.train.loop import Trainer
from support.published import Row, micro_batch_losses, padded_row
from support.tiny import llama

LENGTH, EOS, STEPS = 24, 1, 4
VIEWS = ("forget", "forget_idk", "retain", "retain_idk", "forget_mismatch")
TRAIN = TrainConfig(
    lr=1e-2, epochs=7, batch_size=8, average_over="micro-batch", micro_batch_size=4, pairing="published",
    max_row_length=LENGTH, max_tokens_per_forward=60, precision="float32",
)  # fmt: skip
"""Two micro-batches a step; at most two padded rows fit in one forward pass. float32: no autocast."""


def items(name: str, count: int, longest: int) -> tuple[Item, ...]:
    """Answers of very different lengths; the longest is cut."""
    return tuple(
        Item(id=f"{name}/{n}", question=f"{name[0]}{n}?"[-4:], answer=("ab dc" * 9)[n % 3 : 4 + (n * 7) % longest])
        for n in range(count)
    )


TASK = Task(
    name="t",
    forget=items("forget", 12, 25),
    retain=items("retain", 17, 19),
    evaluation=(),
    refusals=("no", "not me", "hm.", "ask her"),
)


def ids_of(text: str) -> list[int]:
    return [2 + ord(character) % 59 for character in text]


class Letters:
    """A formatter with one id for each character."""

    pad_token = end_token = EOS

    def encode(self, rows: Any) -> list[TokenizedSequence]:
        return [TokenizedSequence(id_, ids_of(prompt.question), [*ids_of(answer), EOS]) for id_, prompt, answer in rows]


@cache
def before() -> Any:
    return llama(dtype=torch.float64)


def train_ours(method: str, config: ObjectiveConfig, folder: Path) -> torch.Tensor:
    bound = objective(method, config)
    examples = unlearning_examples(
        sample_batches(TASK, TRAIN, seed=5),
        bound.views,
        Letters(),  # type: ignore[arg-type]
        row_lengths=bound.row_lengths,
        max_row_length=TRAIN.max_row_length,
    )
    needed = [example[view] for step in examples for example in step for view in bound.sequence_reference_views]
    sequences = CachedLogprobs.compute(before(), needed, max_tokens_per_forward=500) if needed else None
    reference = Reference(sequences, LiveReference(before()) if bound.needs_distribution else None)
    model = llama(dtype=torch.float64)
    trainer = Trainer(model, bound, TRAIN, make_schedule(len(TASK.forget), TRAIN), seed=5, folder=folder)
    trainer.run(examples[:STEPS], reference)
    return flat(model)


def flat(model: Any) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def published_order() -> list[int]:
    """As accelerate shuffles for transformers' trainer: by its default seed and the number of the epoch."""
    order: list[int] = []
    for epoch in range(TRAIN.epochs):
        order += torch.randperm(12, generator=torch.Generator().manual_seed(42 + epoch)).tolist()
    return order


def published_rows(index: int) -> dict[str, Row]:
    """`TextForgetDatasetQA.__getitem__`, whose draws depend on the index alone."""
    draws = torch.Generator().manual_seed(index)
    partner = (index + int(torch.randint(0, 17, (1,), generator=draws))) % 17
    refusal = TASK.refusals[int(torch.randint(0, 4, (1,), generator=draws))]
    forget, retain = TASK.forget[index], TASK.retain[partner]
    texts = {
        "forget": (forget.question, forget.answer),
        "forget_idk": (forget.question, refusal),
        "retain": (retain.question, retain.answer),
        "retain_idk": (retain.question, refusal),
        "forget_mismatch": (forget.question, retain.answer),
    }
    return {
        view: padded_row(ids_of(question), ids_of(answer), EOS, LENGTH) for view, (question, answer) in texts.items()
    }


def train_plainly(method: str, config: ObjectiveConfig) -> torch.Tensor:
    model, order = llama(dtype=torch.float64), published_order()
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=TRAIN.lr)
    for step in range(STEPS):
        for group in optimizer.param_groups:  # of 10 steps, no warm-up: an epoch is one step
            group["lr"] = TRAIN.lr * (10 - step) / 10
        optimizer.zero_grad()
        for start in (8 * step, 8 * step + 4):
            picked = [published_rows(index) for index in order[start : start + 4]]
            rows = {view: [each[view] for each in picked] for view in VIEWS}
            forget, retain = micro_batch_losses(method, model, before(), rows, config.beta)
            ((config.forget_coeff * forget + config.retain_coeff * retain) / 2).backward()
        optimizer.step()
    return flat(model)


@pytest.mark.parametrize("method", PAPER_METHODS)
def test_weights_of_every_method(method: str, tmp_path: Path) -> None:
    config = ObjectiveConfig(
        forget_coeff=0.3,
        me=MEConfig(average="padded", padded_length=LENGTH),
        kl=KLConfig(average="padded", padded_length=LENGTH),
    )
    ours, theirs, start = train_ours(method, config, tmp_path), train_plainly(method, config), flat(before())
    assert (ours - theirs).norm() < 1e-6 * (theirs - start).norm()


@pytest.mark.parametrize("change", [{"me": MEConfig(padded_length=LENGTH)}, {"kl": KLConfig(positions="all")}])
def test_averages_over_tokens_train_something_else(change: dict[str, Any], tmp_path: Path) -> None:
    """So that the test above would notice the default."""
    padded = ObjectiveConfig(
        me=MEConfig(average="padded", padded_length=LENGTH), kl=KLConfig(average="padded", padded_length=LENGTH)
    )
    ours = train_ours("me+kl", padded.model_copy(update=change), tmp_path)
    theirs = train_plainly("me+kl", padded)
    assert (ours - theirs).norm() > 0.05 * (theirs - flat(before())).norm()
