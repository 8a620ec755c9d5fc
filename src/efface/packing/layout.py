"""Which tokens of a packed row each sequence consists of, and the index tensors that attention gathers with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain

import torch
from torch import Tensor

from efface.hardware.device import copy_to_device


@dataclass(frozen=True)
class GatherPlan:
    """Index tensors from T packed tokens to P slots in which every sequence is complete, and back."""

    gather_index: Tensor
    """[P]: the packed token of each slot; padding slots repeat token 0, always after the tokens of a sequence."""
    inverse_index: Tensor
    """[T]: the slot of each packed token in the sequence that introduced it (the first one that contains it)."""
    slots: Tensor
    """[total length of all sequences]: the slots of each packed token in all sequences that contain it, token by
    token."""
    slot_offsets: Tensor | None
    """[T]: where the slots of each token start in `slots`; None if every token has exactly one slot."""


@dataclass(frozen=True)
class Bucket:
    """Sequences of similar length as the right-padded rows of one attention call."""

    gather_index: Tensor
    """[rows, longest]: index into the packed row; padding as in `GatherPlan.gather_index`."""


@dataclass(frozen=True)
class PaddedRows:
    """Rows whose padding is part of the loss: what attention needs in place of a `Layout`."""

    attention_mask: Tensor
    """[B, L]: 1 for text, 0 from the first end-of-sequence token on."""
    padding_attends: bool = True
    """Whether attention gives padding what it reads in the text, or zeros."""


@dataclass(frozen=True)
class Layout:
    """The tokens of each sequence in a packed row, in the forms that attention kernels need."""

    token_indices: tuple[list[int], ...]
    """Indices into the packed row of the tokens of each sequence; sequences without new tokens are left out."""
    new_token_counts: tuple[int, ...]
    """The number of new tokens of each sequence. They are its last tokens; those before are shared with an earlier
    sequence. In the packed row, new tokens follow each other in the order of the sequences."""
    device: torch.device

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """The number of tokens of each sequence, including shared ones."""
        return tuple(map(len, self.token_indices))

    @property
    def max_length(self) -> int:
        """The number of tokens of the longest sequence."""
        return max(self.lengths)

    @cached_property
    def has_shared_tokens(self) -> bool:
        """Whether some token is part of several sequences."""
        return sum(self.new_token_counts) < sum(self.lengths)

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """Cumulative sequence lengths [sequences + 1] in int32, as variable-length kernels take them."""
        return copy_to_device(torch.tensor([0, *accumulate(self.lengths)], dtype=torch.int32), self.device)

    @cached_property
    def concatenated(self) -> GatherPlan:
        """All sequences complete and one after another, with the boundaries of `cu_seqlens`."""
        slots = torch.arange(sum(self.lengths))
        gather_index = torch.tensor(list(chain(*self.token_indices)))
        return self._gather_plan(gather_index, list(slots.split(list(self.lengths))))

    @cached_property
    def padded_rows(self) -> tuple[tuple[Bucket, ...], GatherPlan]:
        """Buckets of padded rows of similar length, and the plan whose slots are those rows, flattened."""
        lengths = self.lengths
        buckets: list[Tensor] = []
        slots = [torch.empty(0)] * len(lengths)
        first_slot = 0
        for group in _length_buckets(sorted(range(len(lengths)), key=lengths.__getitem__), lengths):
            width = lengths[group[-1]]
            rows = [self.token_indices[sequence] for sequence in group]
            gather_index = torch.tensor([row + [0] * (width - len(row)) for row in rows])
            for row, sequence in enumerate(group):
                start = first_slot + row * width
                slots[sequence] = torch.arange(start, start + lengths[sequence])
            buckets.append(gather_index)
            first_slot += gather_index.numel()
        plan = self._gather_plan(torch.cat([bucket.flatten() for bucket in buckets]), slots)
        return tuple(Bucket(copy_to_device(bucket, self.device)) for bucket in buckets), plan

    def _gather_plan(self, gather_index: Tensor, slots: Sequence[Tensor]) -> GatherPlan:
        """`slots`: the slots of the tokens of each sequence."""
        new_slots = [each[len(each) - count :] for each, count in zip(slots, self.new_token_counts, strict=True)]
        inverse_index = torch.cat(new_slots)
        slots_by_token, slot_offsets = inverse_index, None
        if self.has_shared_tokens:
            token = torch.tensor(list(chain(*self.token_indices)))
            slots_by_token = torch.cat(list(slots))[token.argsort(stable=True)]
            counts = token.bincount()
            slot_offsets = copy_to_device(counts.cumsum(0) - counts, self.device)
        return GatherPlan(
            gather_index=copy_to_device(gather_index, self.device),
            inverse_index=copy_to_device(inverse_index, self.device),
            slots=copy_to_device(slots_by_token, self.device),
            slot_offsets=slot_offsets,
        )


def _length_buckets(by_length: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Split sequences, shortest first, into groups of lengths up to 1.5 times the shortest plus 16 tokens."""
    group: list[int] = []
    for sequence in by_length:
        if group and lengths[sequence] > 1.5 * lengths[group[0]] + 16:
            yield group
            group = []
        group.append(sequence)
    yield group
