"""Batches of sequences within a token budget, so that sequences with a common prompt are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from efface.packing.prefix_trie import PrefixTrie
from efface.text.sequence import TokenizedSequence

_MAX_EXPANSION = 4
"""The most token budgets that a batch may contain when shared tokens are counted in every sequence: attention reads
each sequence complete."""


def prompt_order(sequences: Sequence[TokenizedSequence]) -> list[int]:
    """Order sequences by length, longest first, each followed by all others with the same prompt.

    Returns:
        Indices into `sequences`.
    """
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(sequences)), key=lambda i: -len(sequences[i])):
        by_prompt.setdefault(tuple(sequences[index].prompt), []).append(index)
    return list(chain.from_iterable(by_prompt.values()))


def token_batches(sequences: Sequence[TokenizedSequence], budget: int, *, shared: bool = False) -> Iterator[list[int]]:
    """Split sequences, in the order of `prompt_order`, into batches of at most `budget` tokens.

    Args:
        sequences: the sequences to read.
        budget: the most tokens of a batch; a longer sequence is a batch of its own.
        shared: count a prefix that several sequences of a batch share once; for models that can be packed.

    Yields:
        Indices into `sequences`, batch by batch.
    """
    max_expanded = _MAX_EXPANSION * budget if shared else budget
    batch: list[int] = []
    prefixes, expanded = PrefixTrie(), 0
    for index in prompt_order(sequences):
        ids = sequences[index].ids
        if batch and (len(prefixes) + prefixes.count_new(ids) > budget or expanded + len(ids) > max_expanded):
            yield batch
            batch, prefixes, expanded = [], PrefixTrie(), 0
        batch.append(index)
        prefixes.add(ids)
        expanded += len(ids)
    if batch:
        yield batch
