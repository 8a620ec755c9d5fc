"""Log-probabilities of answers and refusals while a model unlearns, and the weight that AP gives: once an epoch."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import torch

from efface.objectives.retain import ap_weight
from efface.packing.logprobs import answer_logprobs
from efface.schema import Item, Task
from efface.spacing import evenly_spaced
from efface.text.formatter import PromptFormatter
from efface.text.sequence import TokenizedSequence

MAX_ITEMS = 100
"""The most items of the forget set, and of the retain set, that are watched; of larger sets, evenly spaced ones."""


@dataclass(frozen=True)
class WatchLog:
    """A line of metrics.jsonl with `train.watch`: the model at the end of an epoch.

    The first four are means over items of the mean natural-log probability of an answer's tokens; None where the set is
    empty or has only passages, which have no refusals, or where a number is not finite.
    """

    step: int
    """Optimizer steps so far."""
    epoch: int
    """0 before the first step."""
    forget_answer: float | None
    forget_refusal: float | None
    retain_answer: float | None
    retain_refusal: float | None
    ap_weight: float | None
    """Mean over the retain items of the weight that AP gives (`efface.objectives.retain.ap_weight`)."""


@dataclass(frozen=True)
class WatchedItem:
    """An item whose log-probabilities are watched."""

    answer: TokenizedSequence
    refusal: TokenizedSequence | None
    """None for a passage of running text."""


@dataclass(frozen=True)
class Watch:
    """What is watched, and when."""

    forget: tuple[WatchedItem, ...]
    retain: tuple[WatchedItem, ...]
    epoch_ends: Mapping[int, int]
    """Optimizer steps so far -> epoch; 0 -> 0 is before the first step."""
    beta: float
    """Inverse temperature of AP."""


def watch_task(
    task: Task, formatter: PromptFormatter, *, epoch_ends: Mapping[int, int], beta: float, seed: int
) -> Watch:
    """Choose and tokenize the items to watch; each gets one refusal for the whole training.

    Args:
        task: Forget set, retain set and refusals.
        formatter: Writes prompts and tokenizes.
        epoch_ends: What `efface.train.batches.schedule.epoch_ends` returned.
        beta: Inverse temperature of AP.
        seed: Decides the refusals, with the id of the item.

    Raises:
        EffaceError: An item with its refusal is too long.
    """

    def watched(items: Sequence[Item]) -> tuple[WatchedItem, ...]:
        chosen = evenly_spaced(items, MAX_ITEMS)
        answers = formatter.encode([(item.id, item.prompt, item.answer) for item in chosen])
        refused = [item for item in chosen if not item.passage]
        texts = [random.Random(f"{seed}/watch/{item.id}").choice(task.refusals) for item in refused]
        refusals = iter(
            formatter.encode([(item.id, item.prompt, text) for item, text in zip(refused, texts, strict=True)])
        )
        return tuple(
            WatchedItem(answer, None if item.passage else next(refusals))
            for item, answer in zip(chosen, answers, strict=True)
        )

    return Watch(watched(task.forget), watched(task.retain), {0: 0, **epoch_ends}, beta)


def measure(model: Any, watch: Watch, *, step: int, max_tokens_per_forward: int) -> WatchLog:
    """Compute the log-probabilities of everything that is watched, with dropout off, and leave the model as it was.

    Args:
        model: The model in training; of several processes, each computes a part.
        watch: What is watched.
        step: Optimizer steps so far: a key of `watch.epoch_ends`.
        max_tokens_per_forward: Most tokens in one forward pass.

    Raises:
        EffaceError: The memory of the GPU is too small for a single sequence.
    """
    items = (*watch.forget, *watch.retain)
    sequences = [each for item in items for each in (item.answer, item.refusal) if each is not None]
    logprobs = iter(answer_logprobs(model, sequences, max_tokens_per_forward=max_tokens_per_forward))
    measured = [_Logprobs(next(logprobs), None if item.refusal is None else next(logprobs)) for item in items]
    forget, retain = measured[: len(watch.forget)], measured[len(watch.forget) :]
    return WatchLog(
        step=step,
        epoch=watch.epoch_ends[step],
        forget_answer=_mean([fmean(each.answer) for each in forget]),
        forget_refusal=_mean([fmean(each.refusal) for each in forget if each.refusal is not None]),
        retain_answer=_mean([fmean(each.answer) for each in retain]),
        retain_refusal=_mean([fmean(each.refusal) for each in retain if each.refusal is not None]),
        ap_weight=_mean(_ap_weights(retain, watch.beta)),
    )


class _Logprobs(NamedTuple):
    """Log-probability of each token of an item's answer and refusal."""

    answer: list[float]
    refusal: list[float] | None


def _ap_weights(items: Sequence[_Logprobs], beta: float) -> list[float]:
    """AP's weight of each item that has a refusal."""
    pairs = [(math.fsum(each.refusal), math.fsum(each.answer)) for each in items if each.refusal is not None]
    logps = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2)
    weights: list[float] = ap_weight(logps[:, 0], logps[:, 1], beta=beta).tolist()
    return weights


def _mean(values: Sequence[float]) -> float | None:
    """The mean; None if there is none or it is not finite."""
    mean = fmean(values) if values else math.nan
    return mean if math.isfinite(mean) else None
