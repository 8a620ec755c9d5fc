"""Many sequences in one row, without padding and without attention between them.

What several sequences begin with stands in the row once: the answers to a question share its tokens, and all
questions those of the chat template before them. Causal models give a token the same hidden state whatever comes
behind it. Each sequence attends to all of its tokens, wherever in the row they lie, and the gradient of a shared token
is the sum over the sequences that begin with it. While training, dropout takes away the same in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain

import torch
from torch import Tensor

from efface.text.formatter import Positions, TokenizedSequence

_MAX_EXPANSION = 4
"""How many budgets of tokens a batch holds at most, every sequence counted whole: as attention lays them out."""


@dataclass(frozen=True)
class GatherPlan:
    """Tokens of a packed row laid out for attention, each sequence whole."""

    places: Tensor
    """[P]: which token lies at each place; padding repeats token 0, behind what it could disturb."""
    back: Tensor
    """[T]: the place of each token in the sequence that it is an own token of."""
    holders: Tensor
    """Places of each token in all sequences that hold it, token by token."""
    starts: Tensor | None
    """[T]: where in `holders` those of each token start; None where each has but one."""


@dataclass(frozen=True)
class Bucket:
    """Sequences of like length, laid out as rows for attention alone."""

    gather: Tensor
    """[rows, longest]: index into the packed row; padding as in `GatherPlan.places`."""


@dataclass(frozen=True)
class Layout:
    """Of which tokens of a packed row each sequence consists, as attention kernels want it."""

    sequences: tuple[list[int], ...]
    """Places in the row of the tokens of each sequence; one without own tokens is left out."""
    own: tuple[int, ...]
    """How many own tokens each has: the last ones. Those before are an earlier sequence's own. In the row, own tokens
    lie one behind the other in the order of sequences."""
    device: torch.device

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each sequence, shared ones included."""
        return tuple(map(len, self.sequences))

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths)

    @cached_property
    def shares(self) -> bool:
        """Whether some token is part of several sequences."""
        return sum(self.own) < sum(self.lengths)

    @cached_property
    def offsets(self) -> Tensor:
        """[sequences + 1] int32, cumulative lengths."""
        return to_device(torch.tensor([0, *accumulate(self.lengths)], dtype=torch.int32), self.device)

    @cached_property
    def whole(self) -> GatherPlan:
        """Sequences one behind the other, as `offsets` counts them."""
        at = torch.arange(sum(self.lengths))
        return self._spread(torch.tensor(list(chain(*self.sequences))), list(at.split(list(self.lengths))))

    @cached_property
    def rows(self) -> tuple[tuple[Bucket, ...], GatherPlan]:
        """Sequences as rows of like length, and the same rows one behind the other."""
        lengths = self.lengths
        buckets: list[Tensor] = []
        at = [torch.empty(0)] * len(lengths)
        done = 0
        for group in _length_buckets(sorted(range(len(lengths)), key=lengths.__getitem__), lengths):
            width = lengths[group[-1]]
            gather = torch.zeros(len(group), width, dtype=torch.long)
            for row, sequence in enumerate(group):
                gather[row, : lengths[sequence]] = torch.tensor(self.sequences[sequence])
                at[sequence] = torch.arange(lengths[sequence]) + done + row * width
            buckets.append(gather)
            done += gather.numel()
        spread = self._spread(torch.cat([gather.flatten() for gather in buckets]), at)
        return tuple(Bucket(to_device(gather, self.device)) for gather in buckets), spread

    def _spread(self, places: Tensor, at: list[Tensor]) -> GatherPlan:
        """`at`: of each sequence, where its tokens were put."""
        back = torch.cat([each[len(each) - own :] for each, own in zip(at, self.own, strict=True)])
        holders, starts = back, None
        if self.shares:
            token = torch.tensor(list(chain(*self.sequences)))
            holders = torch.cat(at)[token.argsort(stable=True)]
            counts = token.bincount()
            starts = to_device(counts.cumsum(0) - counts, self.device)
        return GatherPlan(
            to_device(places, self.device), to_device(back, self.device), to_device(holders, self.device), starts
        )


def _length_buckets(by_length: list[int], lengths: tuple[int, ...]) -> Iterator[list[int]]:
    """Split sequences, shortest first, into groups whose longest is at most a half longer than the shortest."""
    group: list[int] = []
    for sequence in by_length:
        if group and lengths[sequence] > 1.5 * lengths[group[0]] + 16:
            yield group
            group = []
        group.append(sequence)
    yield group


@dataclass(frozen=True)
class TargetPositions:
    """Positions of a packed row at which the head is applied, and what each should predict."""

    rows: Tensor
    """[N]: index into the packed row; the token there predicts the next one."""
    targets: Tensor
    """[N] token ids."""
    sequence: Tensor
    """[N]: which sequence each belongs to."""
    counts: list[int]
    """[B]: reads of each sequence."""
    first: Tensor
    """[U]: of reads that predict the same token behind the same ones, the first; the head need not read the others."""
    of: Tensor
    """[N]: which of `first` each read equals."""


@dataclass(frozen=True)
class PackedBatch:
    """Sequences in one row, what they begin with in common once: what a model reads in one forward."""

    sequences: tuple[TokenizedSequence, ...]
    input_ids: Tensor
    """[1, T]"""
    position_ids: Tensor
    """[1, T], from 0 in each sequence."""
    places: tuple[list[int], ...]
    """Where in the row the tokens of each sequence lie."""
    layout: Layout

    def reads(self, positions: Positions, sequences: range | None = None) -> TargetPositions:
        """Reads of some sequences (all by default), in order."""
        chosen = range(len(self.sequences)) if sequences is None else sequences
        predicted: list[int] = []
        rows: list[int] = []
        counts = []
        for sequence in chosen:
            places = self.places[sequence]
            first = len(self.sequences[sequence].prompt) if positions == "answer" else 1
            predicted += places[first:]
            rows += places[first - 1 : -1]
            counts.append(len(places) - first)
        first_read: dict[int, int] = {}  # of each distinct place that is predicted
        for index, place in enumerate(predicted):
            first_read.setdefault(place, index)
        number = {place: index for index, place in enumerate(first_read)}
        device = self.input_ids.device
        return TargetPositions(
            rows=to_device(torch.tensor(rows), device),
            targets=self.input_ids[0, to_device(torch.tensor(predicted), device)],
            sequence=to_device(torch.repeat_interleave(torch.tensor(counts)), device),
            counts=counts,
            first=to_device(torch.tensor(list(first_read.values())), device),
            of=to_device(torch.tensor([number[place] for place in predicted]), device),
        )


class PrefixTrie:
    """What sequences begin with, each beginning once: a causal model has to read as many tokens."""

    def __init__(self) -> None:
        self.place: dict[tuple[int, int], int] = {}
        """(place of the token before, or -1; token) -> place, counted in the order in which they came."""

    def __len__(self) -> int:
        return len(self.place)

    def add(self, ids: Iterable[int]) -> list[int]:
        """The places of a sequence's tokens."""
        place, places = self.place, []
        last = -1
        for token in ids:
            last = place.setdefault((last, token), len(place))
            places.append(last)
        return places

    def new(self, ids: Sequence[int]) -> int:
        """How many places `add` would add."""
        last = -1
        for known, token in enumerate(ids):
            found = self.place.get((last, token))
            if found is None:
                return len(ids) - known
            last = found
        return 0


def pack(sequences: Sequence[TokenizedSequence], device: torch.device | str = "cpu") -> PackedBatch:
    """Put sequences one behind the other, in the order given, each without what an earlier one begins with too.

    Raises `ValueError` for no sequence at all, or one with an empty prompt or answer: a loss over it has no meaning.
    """
    for item in sequences:
        if not item.prompt or not item.answer:
            raise ValueError(f"sequence {item.id!r} needs at least one token of prompt and one of answer")
    if not sequences:
        raise ValueError("nothing to pack")
    beginnings = PrefixTrie()
    places, own = [], []
    positions: list[int] = []
    for item in sequences:
        before = len(beginnings)
        places.append(beginnings.add(chain(item.prompt, item.answer)))
        own.append(len(beginnings) - before)
        positions += range(len(item) - own[-1], len(item))
    attending = [index for index, count in enumerate(own) if count]
    return PackedBatch(
        sequences=tuple(sequences),
        input_ids=to_device(torch.tensor([[token for _, token in beginnings.place]]), device),
        position_ids=to_device(torch.tensor([positions]), device),
        places=tuple(places),
        layout=Layout(
            tuple(places[index] for index in attending), tuple(own[index] for index in attending), torch.device(device)
        ),
    )


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the CPU on `device`, without waiting for what a GPU still does."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def prompt_order(sequences: Sequence[TokenizedSequence]) -> list[int]:
    """Indices of sequences, the longest first, but behind each come all others with the same prompt."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(sequences)), key=lambda i: -len(sequences[i])):
        by_prompt.setdefault(tuple(sequences[index].prompt), []).append(index)
    return list(chain.from_iterable(by_prompt.values()))


def token_batches(sequences: Sequence[TokenizedSequence], budget: int, *, shared: bool = False) -> Iterator[list[int]]:
    """Indices of sequences, in the order of `prompt_order`, in groups of at most `budget` tokens (a longer one goes alone).

    With `shared`, which is for packed models alone, what several sequences of a group begin with counts once.
    """
    most = _MAX_EXPANSION * budget if shared else budget
    group: list[int] = []
    beginnings, whole = PrefixTrie(), 0
    for index in prompt_order(sequences):
        ids = [*sequences[index].prompt, *sequences[index].answer]
        if group and (len(beginnings) + beginnings.new(ids) > budget or whole + len(ids) > most):
            yield group
            group, beginnings, whole = [], PrefixTrie(), 0
        group.append(index)
        beginnings.add(ids)
        whole += len(ids)
    if group:
        yield group
