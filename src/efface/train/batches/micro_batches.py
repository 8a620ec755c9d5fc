"""How the examples of an optimizer step are divided: among processes, and into micro-batches by their tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from efface.objectives.terms import Objective, View, divisors
from efface.packing.padded_rows import PaddedSequence, input_length
from efface.packing.prefix_trie import PrefixTrie
from efface.text.sequence import TokenizedSequence

TrainingExample = Mapping[View, TokenizedSequence]
"""A forget item with its partners, or an item to fine-tune on: one sequence for each view that the objective reads."""

_REREAD = 4
"""What a token costs in attention alone is one part in so many of what it costs in the whole model."""


@dataclass(frozen=True)
class MicroBatch:
    """The examples of one forward and backward pass."""

    examples: Sequence[TrainingExample]
    divisors: Sequence[Sequence[float]]
    """[terms, examples]: what the loss of each example is divided by."""


def micro_batches_of_rank(
    objective: Objective,
    examples: Sequence[TrainingExample],
    max_tokens_per_forward: int | None,
    *,
    average_over: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    shared: bool = False,
) -> list[MicroBatch]:
    """The micro-batches that one process computes of an optimizer batch.

    Every example is computed by one process. All processes have the same number of micro-batches, since they
    communicate in each: one that has no example left computes the shortest example with zero weight.

    Args:
        objective: Its terms determine the divisors.
        examples: The whole optimizer batch.
        max_tokens_per_forward: Most tokens of one micro-batch; None for no limit. A longer example is one by itself.
        average_over: How many consecutive examples are averaged at once, however they are divided here; None for all.
        rank: The process, from 0.
        world_size: Number of processes.
        shared: As in `split_by_tokens`.

    Returns:
        At least one micro-batch.
    """
    views = {view: [example[view] for example in examples] for view in objective.views}
    term_divisors = [divisors(term, views, micro_batch_size=average_over) for term in objective.terms]
    shares = balance_by_tokens([count_tokens(example) for example in examples], world_size)
    ranges = [
        list(split_by_tokens([examples[index] for index in share], max_tokens_per_forward, shared=shared))
        for share in shares
    ]
    parts = [shares[rank][part.start : part.stop] for part in ranges[rank]]
    batches = [
        MicroBatch([examples[i] for i in part], [[divisor[i] for i in part] for divisor in term_divisors])
        for part in parts
    ]
    shortest = min(examples, key=count_tokens)
    idle = MicroBatch([shortest], [[math.inf]] * len(term_divisors))
    return batches + [idle] * (max(map(len, ranges)) - len(batches))


def examples_of_rank(examples: Sequence[TrainingExample], rank: int, world_size: int) -> list[TrainingExample]:
    """The examples that one process computes of an optimizer batch, as in `micro_batches_of_rank`.

    Args:
        examples: The whole optimizer batch.
        rank: The process, from 0.
        world_size: Number of processes.

    Returns:
        Its examples, and the shortest of the batch, which it computes with zero weight once it has no other left.
    """
    share = balance_by_tokens([count_tokens(example) for example in examples], world_size)[rank]
    return [*(examples[index] for index in share), min(examples, key=count_tokens)]


def balance_by_tokens(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Divide examples among processes so that all have about the same number of tokens.

    Args:
        sizes: Tokens of each example.
        count: Number of processes.

    Returns:
        For each process, the indices of its examples, ascending.
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        lightest = loads.index(min(loads))
        shares[lightest].append(index)
        loads[lightest] += sizes[index]
    return [sorted(share) for share in shares]


def split_by_tokens(
    examples: Sequence[TrainingExample], max_tokens_per_forward: int | None, *, shared: bool = False
) -> Iterator[range]:
    """Cut examples into consecutive micro-batches.

    Args:
        examples: In the order in which they are computed.
        max_tokens_per_forward: Most tokens of one micro-batch; None for no limit. A longer example is one by itself.
        shared: Whether tokens are counted as `PackedTokens` does, for models that can be packed.

    Yields:
        The indices of each micro-batch.
    """
    if max_tokens_per_forward is None or sum(map(count_tokens, examples)) <= max_tokens_per_forward:
        if examples:
            yield range(len(examples))
        return
    start, packed = 0, PackedTokens(shared=shared)
    for index, example in enumerate(examples):
        packed.add(example)
        if index > start and packed.count > max_tokens_per_forward:
            yield range(start, index)
            start, packed = index, PackedTokens(shared=shared)
            packed.add(example)
    yield range(start, len(examples))


class PackedTokens:
    """Counts the tokens of examples in one packed row.

    A token that several sequences share goes through the model once, but attention reads it for each of them: its
    query, key, value and output are about a quarter of what a layer computes. Padded rows share nothing.
    """

    def __init__(self, *, shared: bool) -> None:
        """Count nothing yet.

        Args:
            shared: Whether sequences share tokens; otherwise each token counts.
        """
        self._prefixes = PrefixTrie() if shared else None
        self._read = self._alone = 0

    def add(self, example: TrainingExample) -> None:
        """Add the sequences of an example."""
        for sequence in example.values():
            if self._prefixes is None or isinstance(sequence, PaddedSequence):
                self._alone += input_length(sequence)
            else:
                self._read += len(sequence)
                self._prefixes.add(sequence.ids)

    @property
    def count(self) -> int:
        """Tokens of all examples that were added."""
        distinct = 0 if self._prefixes is None else len(self._prefixes)
        return self._alone + distinct + (self._read - distinct) // _REREAD


def count_packed_tokens(examples: Sequence[TrainingExample], *, shared: bool) -> int:
    """Tokens of examples in one packed row, as `PackedTokens` counts them.

    Args:
        examples: What the row is to have.
        shared: As for `PackedTokens`.

    Returns:
        Tokens; with `shared`, one that several sequences share counts a quarter for each after the first.
    """
    packed = PackedTokens(shared=shared)
    for example in examples:
        packed.add(example)
    return packed.count


def count_tokens(example: TrainingExample) -> int:
    """Tokens of all views of an example that the model reads: prompts, answers, and the padding of padded rows."""
    return sum(map(input_length, example.values()))
