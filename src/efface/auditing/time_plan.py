"""Which parts of an audit fit into a time: speeds measured on one batch of each kind, then a choice by importance."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from efface.auditing.attack import Attack, Context, Cost, Unit

if TYPE_CHECKING:
    from efface.auditing.subject import Subject

_SAMPLE = 8
"""Facts of the batch on which a speed is measured."""
_MEASURED_TOKENS = 16
_USED_SHARE = 0.9
"""Of the time that is planned: predictions are not exact, and models have to be loaded."""


@dataclass(frozen=True)
class Speed:
    """Tokens per second."""

    decoded: float
    read: float
    trained: float

    def seconds(self, cost: Cost) -> float:
        """How long something takes."""
        return cost.decoded / self.decoded + cost.read / self.read + cost.trained / self.trained


@dataclass(frozen=True)
class Part:
    """A unit of an attack."""

    attack: Attack
    unit: Unit
    cost: Cost
    models: int
    """On how many models it is still to be run."""


def measure_speed(subject: Subject, context: Context) -> Speed:
    """Time one batch of generation and one of likelihoods; a training step is taken as three forward passes.

    Args:
        subject: The loaded model.
        context: With facts.
    """
    facts = context.facts[:_SAMPLE]
    prompts, pairs = [fact.prompt for fact in facts], [(fact.prompt, fact.answer) for fact in facts]
    read_tokens = sum(len(sequence) for sequence in subject.formatter.encode([("", *pair) for pair in pairs]))
    subject.logprobs(pairs)  # the first pass of a process is slower
    read = read_tokens / _seconds(lambda: subject.logprobs(pairs))
    made = len(facts) * _MEASURED_TOKENS
    decoded = made / _seconds(lambda: subject.answer(prompts, max_new_tokens=_MEASURED_TOKENS))
    return Speed(decoded=decoded, read=read, trained=read / 3)


def choose(parts: Sequence[Part], speed: Speed, seconds: float) -> tuple[list[Part], list[Part]]:
    """Choose what fits: the first unit of every attack in their order, then the second of every attack, and so on.

    Args:
        parts: In the order of the attacks, each attack's in the order of their importance.
        speed: Of the models.
        seconds: That the audit may take.

    Returns:
        What fits, and what does not, both in the order of `parts`. Asking plainly is always among the first.
    """
    rank: dict[int, int] = {}
    counts: dict[str, int] = {}
    for index, part in enumerate(parts):
        rank[index] = counts[part.attack.name] = counts.get(part.attack.name, -1) + 1
    left, fits = seconds * _USED_SHARE, set[int]()
    for index in sorted(rank, key=lambda index: (rank[index], index)):
        needed = speed.seconds(parts[index].cost) * parts[index].models
        if needed <= max(left, 0) or parts[index].attack.name == "plain":
            fits.add(index)
            left -= needed
    chosen = [part for index, part in enumerate(parts) if index in fits]
    return chosen, [part for index, part in enumerate(parts) if index not in fits]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return max(time.perf_counter() - start, 1e-6)
