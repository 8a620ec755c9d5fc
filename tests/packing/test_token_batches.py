"""Batches within a token budget; the same prompt comes together."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.packing.token_batches import prompt_order, token_batches
from efface.text.sequence import TokenizedSequence
from support.sequences import distinct_prefixes, sequences_of, sharing_prefixes


@given(st.lists(st.integers(2, 300), max_size=12), st.integers(1, 500))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_every_sequence_is_in_one_batch_within_the_budget(sizes, budget):
    batches = list(token_batches(sequences_of(sizes), budget))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(sizes)))
    assert [sizes[index] for index in order] == sorted(sizes, reverse=True)
    tokens = [sum(sizes[index] for index in batch) for batch in batches]
    assert all(count <= budget or len(batch) == 1 for count, batch in zip(tokens, batches, strict=True))
    # no batch could contain the next sequence too
    assert all(count + sizes[after[0]] > budget for count, after in zip(tokens, batches[1:], strict=False))


@pytest.mark.parametrize(("budget", "batches"), [(10, [[1], [2, 0]]), (11, [[1, 2], [0]])])
def test_a_batch_may_fill_the_budget(budget, batches):
    assert list(token_batches(sequences_of([4, 6, 5]), budget)) == batches


def test_the_same_prompt_comes_together_longest_first():
    prompts = [("b", 2), ("a", 3), ("b", 5), ("a", 1), ("c", 4)]
    sequences = [TokenizedSequence(prompt, [ord(prompt)], [1] * count) for prompt, count in prompts]
    assert prompt_order(sequences) == [2, 0, 4, 1, 3]
    in_order = [sequences[index] for index in prompt_order(sequences)]
    assert prompt_order(in_order) == [0, 1, 2, 3, 4]
    assert [index for batch in token_batches(sequences, 6) for index in batch] == prompt_order(sequences)


@given(sharing_prefixes, st.integers(1, 30), st.booleans())
@settings(deadline=None, derandomize=True, max_examples=100)
def test_the_budget_counts_what_the_model_reads(sequences, budget, shared):
    def fits(batch):
        items = [sequences[index] for index in batch]
        expanded = sum(map(len, items))
        return len(distinct_prefixes(items)) <= budget and expanded <= 4 * budget if shared else expanded <= budget

    batches = list(token_batches(sequences, budget, shared=shared))
    assert [index for batch in batches for index in batch] == prompt_order(sequences)
    assert all(fits(batch) or len(batch) == 1 for batch in batches)
    # no batch could contain the next sequence too
    assert not any(fits([*batch, after[0]]) for batch, after in pairwise(batches))


def test_many_short_answers_to_a_long_prompt_are_bounded():
    """Attention reads the prompt for each of them."""
    sequences = [TokenizedSequence(str(index), [0] * 50, [index, 1]) for index in range(40)]
    batches = list(token_batches(sequences, 100, shared=True))
    assert [len(batch) for batch in batches] == [7, 7, 7, 7, 7, 5]
