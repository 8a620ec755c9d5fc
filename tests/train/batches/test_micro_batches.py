"""Every example is computed once: by one process, in a micro-batch within the token limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.packing.padded_rows import pad
from efface.text.sequence import TokenizedSequence
from efface.train.batches.micro_batches import (
    balance_by_tokens,
    count_packed_tokens,
    count_tokens,
    examples_of_rank,
    micro_batches_of_rank,
    split_by_tokens,
)

GA_GD = objective("ga+gd", ObjectiveConfig())
SIZES = st.lists(st.lists(st.integers(2, 60), min_size=2, max_size=2), max_size=10)


def examples_of(sizes):
    """Examples with a forget and a retain view of so many tokens."""
    return [
        {
            view: TokenizedSequence(f"{view}/{n}", [0], [1] * (size - 1))
            for view, size in zip(("forget", "retain"), pair, strict=True)
        }
        for n, pair in enumerate(sizes)
    ]


def test_tokens_of_all_views_count():
    assert [count_tokens(example) for example in examples_of([[2, 3], [10, 20]])] == [5, 30]


@given(sizes=SIZES, budget=st.none() | st.integers(1, 300))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_micro_batches_cover_all_examples_in_order_within_the_budget(sizes, budget):
    parts = list(split_by_tokens(examples_of(sizes), budget))
    assert [index for part in parts for index in part] == list(range(len(sizes)))
    tokens = [sum(sum(sizes[index]) for index in part) for part in parts]
    if budget is None:
        assert len(parts) == min(1, len(sizes))
        return
    assert all(count <= budget or len(part) == 1 for count, part in zip(tokens, parts, strict=True))
    # no micro-batch could have taken the next example too
    assert all(count + sum(sizes[part.start]) > budget for count, part in zip(tokens, parts[1:], strict=False))


@given(sizes=st.lists(st.integers(1, 50), max_size=20), count=st.integers(1, 5))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_processes_get_about_the_same_number_of_tokens(sizes, count):
    shares = balance_by_tokens(sizes, count)
    assert len(shares) == count
    assert sorted(index for share in shares for index in share) == list(range(len(sizes)))
    assert all(share == sorted(share) for share in shares)
    loads = [sum(sizes[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)


@given(sizes=SIZES.filter(bool), budget=st.none() | st.integers(1, 300), world_size=st.integers(1, 4))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_all_processes_make_the_same_number_of_forwards_and_weigh_each_example_once(sizes, budget, world_size):
    examples = examples_of(sizes)
    ranks = [
        micro_batches_of_rank(GA_GD, examples, budget, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    weighed = [
        example["forget"].id
        for batches in ranks
        for batch in batches
        for example, divisor in zip(batch.examples, batch.divisors[0], strict=True)
        if divisor != math.inf
    ]
    assert sorted(weighed) == sorted(example["forget"].id for example in examples)
    for rank, batches in enumerate(ranks):
        known = {example["forget"].id for example in examples_of_rank(examples, rank, world_size)}
        assert {example["forget"].id for batch in batches for example in batch.examples} <= known


def test_a_process_without_examples_computes_the_shortest_with_zero_weight():
    examples = examples_of([[5, 5], [2, 3]])
    [batch] = micro_batches_of_rank(GA_GD, examples, None, rank=2, world_size=3)
    assert batch.examples == [examples[1]]
    assert batch.divisors == [[math.inf], [math.inf]]


def sharing(*answers, prompt=(1, 2, 3, 4, 5, 6, 7, 8)):
    """Examples whose two views have the same prompt."""
    return [
        {
            "forget": TokenizedSequence("f", prompt, [answer]),
            "forget_idk": TokenizedSequence("i", prompt, [answer + 50]),
        }
        for answer in answers
    ]


def test_a_shared_token_counts_once_and_a_quarter_for_each_further_sequence():
    examples = sharing(10, 11)
    assert count_packed_tokens(examples, shared=False) == 4 * 9
    assert count_packed_tokens(examples, shared=True) == (8 + 4) + 3 * 8 // 4


@pytest.mark.parametrize("shared", [False, True])
def test_padded_rows_share_nothing(shared):
    [example] = sharing(10)
    row = pad(example["forget_idk"], 20, pad_token=1, end_token=1)
    assert count_packed_tokens([{"forget": example["forget"], "forget_idk": row}] * 2, shared=shared) == (
        2 * 20 + (9 + 9 // 4 if shared else 2 * 9)
    )


@pytest.mark.parametrize(("budget", "parts"), [(36, 1), (35, 1), (18, 1), (17, 2), (12, 2), (1, 2)])
def test_sharing_makes_micro_batches_larger(budget, parts):
    examples = sharing(10, 11)
    assert len(list(split_by_tokens(examples, budget, shared=True))) == parts
    assert len(list(split_by_tokens(examples, budget))) == (1 if budget == 36 else 2)
