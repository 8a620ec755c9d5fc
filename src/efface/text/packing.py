"""Many sequences in one row, without padding and without attention between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from efface.text.template import Encoded, Positions


@dataclass(frozen=True)
class Bucket:
    """Sequences of like length, laid out as rows for attention alone."""

    gather: Tensor
    """[rows, longest]: index into the packed row; padding repeats token 0, behind what it could disturb."""


@dataclass(frozen=True)
class Layout:
    """Where each sequence lies in a packed row, as attention kernels want it."""

    lengths: tuple[int, ...]
    offsets: Tensor
    """[sequences + 1] int32, cumulative lengths."""

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths)

    @cached_property
    def buckets(self) -> tuple[tuple[Bucket, ...], Tensor]:
        """Rows of like length, and the index [T] that brings their tokens back into packed order."""
        device = self.offsets.device
        starts = self.offsets[:-1].tolist()
        by_length = sorted(range(len(self.lengths)), key=self.lengths.__getitem__)
        buckets: list[Bucket] = []
        back = torch.empty(sum(self.lengths), dtype=torch.long)
        done = 0
        for group in _alike(by_length, self.lengths):
            width = self.lengths[group[-1]]
            gather = torch.zeros(len(group), width, dtype=torch.long)
            for row, sequence in enumerate(group):
                start, length = starts[sequence], self.lengths[sequence]
                gather[row, :length] = torch.arange(start, start + length)
                back[start : start + length] = torch.arange(length) + done + row * width
            buckets.append(Bucket(gather.to(device)))
            done += gather.numel()
        return tuple(buckets), back.to(device)


def _alike(by_length: list[int], lengths: tuple[int, ...]) -> Iterator[list[int]]:
    """Split sequences, shortest first, into groups whose longest is at most a half longer than the shortest."""
    group: list[int] = []
    for sequence in by_length:
        if group and lengths[sequence] > 1.5 * lengths[group[0]] + 16:
            yield group
            group = []
        group.append(sequence)
    yield group


@dataclass(frozen=True)
class Reads:
    """Positions of a packed row at which the head is applied, and what each should predict."""

    rows: Tensor
    """[N]: index into the packed row; the token there predicts the next one."""
    targets: Tensor
    """[N] token ids."""
    sequence: Tensor
    """[N]: which sequence each belongs to."""
    counts: list[int]
    """[B]: reads of each sequence."""


@dataclass(frozen=True)
class Packed:
    """Sequences one behind the other: what a model reads in one forward."""

    sequences: tuple[Encoded, ...]
    input_ids: Tensor
    """[1, T]"""
    position_ids: Tensor
    """[1, T], from 0 in each sequence."""
    layout: Layout

    def reads(self, positions: Positions, sequences: range | None = None) -> Reads:
        """Reads of some sequences (all by default), in order."""
        chosen = range(len(self.sequences)) if sequences is None else sequences
        starts = [0, *accumulate(self.layout.lengths)]
        rows, owner, counts = [], [], []
        for index, sequence in enumerate(chosen):
            item = self.sequences[sequence]
            first = len(item.prompt) if positions == "answer" else 1
            count = len(item) - first
            rows.append(torch.arange(count) + starts[sequence] + first - 1)
            owner.append(torch.full((count,), index))
            counts.append(count)
        device = self.input_ids.device
        row = torch.cat(rows).to(device)
        return Reads(row, self.input_ids[0, row + 1], torch.cat(owner).to(device), counts)


def pack(sequences: Sequence[Encoded], device: torch.device | str = "cpu") -> Packed:
    """Put sequences one behind the other, in the order given.

    Raises `ValueError` for no sequence at all, or one with an empty prompt or answer: a loss over it has no meaning.
    """
    for item in sequences:
        if not item.prompt or not item.answer:
            raise ValueError(f"sequence {item.id!r} needs at least one token of prompt and one of answer")
    if not sequences:
        raise ValueError("nothing to pack")
    lengths = tuple(len(item) for item in sequences)
    ids = [token for item in sequences for token in (*item.prompt, *item.answer)]
    positions = [position for length in lengths for position in range(length)]
    return Packed(
        sequences=tuple(sequences),
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        layout=Layout(lengths, torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)),
    )


def token_batches(sequences: Sequence[Encoded], budget: int) -> Iterator[list[int]]:
    """Indices of sequences, longest first, in groups of at most `budget` tokens (a longer one goes alone)."""
    group: list[int] = []
    tokens = 0
    for index in sorted(range(len(sequences)), key=lambda i: -len(sequences[i])):
        if group and tokens + len(sequences[index]) > budget:
            yield group
            group, tokens = [], 0
        group.append(index)
        tokens += len(sequences[index])
    if group:
        yield group
