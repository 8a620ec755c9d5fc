"""Where things lie in a packed row, by hand and for any lengths."""

from __future__ import annotations

from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.packing.packed_batch import pack
from efface.packing.token_batches import prompt_order, token_batches
from efface.text.formatter import TokenizedSequence

TWO = [TokenizedSequence("a", [10, 11], [12, 13, 14]), TokenizedSequence("b", [20], [21])]
FOUR = [
    TokenizedSequence("right", [10, 11], [12, 13]),
    TokenizedSequence("other", [20], [21]),
    TokenizedSequence("wrong", [10, 11], [12, 14, 15]),
    TokenizedSequence("again", [10, 11], [12, 13]),
]
"""What begins as an earlier one does."""
lengths = st.lists(st.integers(2, 300), min_size=1, max_size=12)
_few = st.lists(st.integers(0, 1), min_size=1, max_size=6)
alike = st.lists(st.tuples(_few, _few).map(lambda ids: TokenizedSequence("x", *ids)), min_size=1, max_size=10)
"""Of two tokens alone, so that many begin as others do."""


def sequences_of(sizes: list[int]) -> list[TokenizedSequence]:
    """No two begin alike."""
    return [TokenizedSequence(str(index), [index], [1] * (size - 1)) for index, size in enumerate(sizes)]


def beginnings(sequences: list[TokenizedSequence]) -> set[tuple[int, ...]]:
    whole = [(*item.prompt, *item.answer) for item in sequences]
    return {ids[:end] for ids in whole for end in range(1, len(ids) + 1)}


def test_sequences_lie_one_behind_the_other():
    batch = pack(TWO)
    assert batch.input_ids.tolist() == [[10, 11, 12, 13, 14, 20, 21]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1]]
    assert batch.layout.lengths == (5, 2)
    assert batch.layout.cu_seqlens.tolist() == [0, 5, 7]
    assert batch.layout.max_length == 5


def test_what_sequences_begin_with_lies_in_the_row_once():
    batch = pack(FOUR)
    assert batch.input_ids.tolist() == [[10, 11, 12, 13, 20, 21, 14, 15]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 3, 4]]
    assert batch.token_indices == ([0, 1, 2, 3], [4, 5], [0, 1, 2, 6, 7], [0, 1, 2, 3])
    assert batch.layout.lengths == (4, 2, 5)  # nothing of the last one is its own
    assert batch.layout.new_token_counts == (4, 2, 2)
    assert batch.layout.has_shared_tokens
    assert not pack(TWO).layout.has_shared_tokens


@given(alike)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_a_row_holds_each_beginning_once_and_every_sequence_whole(sequences):
    batch = pack(sequences)
    assert batch.input_ids.shape == batch.position_ids.shape == (1, len(beginnings(sequences)))
    for item, places in zip(sequences, batch.token_indices, strict=True):
        assert batch.input_ids[0, places].tolist() == item.prompt + item.answer
        assert batch.position_ids[0, places].tolist() == list(range(len(item)))


def test_answer_reads_predict_each_answer_token_from_the_one_before():
    at = pack(TWO).target_positions("answer")
    assert at.token_index.tolist() == [1, 2, 3, 5]
    assert at.targets.tolist() == [12, 13, 14, 21]
    assert at.sequence_index.tolist() == [0, 0, 0, 1]
    assert at.counts == [3, 1]


def test_all_reads_predict_every_token_but_the_first_of_its_sequence():
    at = pack(TWO).target_positions("all")
    assert at.token_index.tolist() == [0, 1, 2, 3, 5]
    assert at.targets.tolist() == [11, 12, 13, 14, 21]
    assert at.counts == [4, 1]


def test_reads_of_some_sequences_are_numbered_among_themselves():
    at = pack([*TWO, TWO[0]]).target_positions("answer", range(1, 3))
    assert at.token_index.tolist() == [5, 1, 2, 3]
    assert at.targets.tolist() == [21, 12, 13, 14]
    assert at.sequence_index.tolist() == [0, 1, 1, 1]
    assert at.counts == [1, 3]


def test_reads_that_predict_the_same_are_known():
    at = pack(FOUR).target_positions("answer")
    assert at.token_index.tolist() == [1, 2, 4, 1, 2, 6, 1, 2]
    assert at.targets.tolist() == [12, 13, 21, 12, 14, 15, 12, 13]  # two of them from one row
    assert at.unique_index.tolist() == [0, 1, 2, 4, 5]
    assert at.inverse_index.tolist() == [0, 1, 2, 0, 3, 4, 0, 1]
    assert at.counts == [2, 1, 3, 2]


@given(alike, st.sampled_from(["answer", "all"]))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_reads_are_those_of_each_sequence(sequences, positions):
    batch = pack(sequences)
    at = batch.target_positions(positions)
    whole = [[*item.prompt, *item.answer] for item in sequences]
    first = [len(item.prompt) if positions == "answer" else 1 for item in sequences]
    assert at.targets.tolist() == list(chain(*(ids[start:] for ids, start in zip(whole, first, strict=True))))
    rows = [places[start - 1 : -1] for places, start in zip(batch.token_indices, first, strict=True)]
    assert at.token_index.tolist() == list(chain(*rows))
    assert torch.equal(at.token_index[at.unique_index][at.inverse_index], at.token_index)
    assert torch.equal(at.targets[at.unique_index][at.inverse_index], at.targets)
    read = {tuple(ids[: end + 1]) for ids, start in zip(whole, first, strict=True) for end in range(start, len(ids))}
    assert len(at.unique_index) == len(read)


@pytest.mark.parametrize(
    "item", [TokenizedSequence("x/7", [], [1]), TokenizedSequence("x/7", [1], [])], ids=["no prompt", "no answer"]
)
def test_a_sequence_without_prompt_or_answer_is_refused_by_name(item):
    with pytest.raises(ValueError, match="'x/7' needs at least one token of prompt and one of answer"):
        pack([TWO[0], item])


def test_nothing_to_pack_is_refused():
    with pytest.raises(ValueError, match="nothing to pack"):
        pack([])


@given(lengths.map(sequences_of) | alike)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_rows_for_attention_hold_every_sequence_whole_and_bring_every_token_back(sequences):
    batch = pack(sequences)
    buckets, plan = batch.layout.padded_rows
    token = torch.arange(batch.input_ids.shape[1])
    assert torch.equal(plan.gather_index, torch.cat([bucket.gather_index.flatten() for bucket in buckets]))
    assert torch.equal(plan.gather_index[plan.inverse_index], token)
    rows = [row.tolist() for bucket in buckets for row in bucket.gather_index]
    assert len(rows) == len(batch.layout.token_indices)
    for places in batch.layout.token_indices:
        # first in its row, in order: causal attention then cannot see the padding behind
        assert places in [row[: len(places)] for row in rows]
    assert {place for places in batch.layout.token_indices for place in places} == set(token.tolist())


@given(lengths.map(sequences_of) | alike, st.sampled_from(["rows", "whole"]))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_the_holders_of_a_token_are_all_its_places_but_padding(sequences, laid_out):
    layout = pack(sequences).layout
    plan = layout.padded_rows[1] if laid_out == "rows" else layout.concatenated
    assert (plan.slot_offsets is not None) == layout.has_shared_tokens
    holders = [[place] for place in plan.slots.tolist()]
    if plan.slot_offsets is not None:
        holders = [part.tolist() for part in plan.slots.tensor_split(plan.slot_offsets[1:])]
    assert sum(map(len, holders)) == sum(layout.lengths) == len(set(chain(*holders)))
    for token, places in enumerate(holders):
        assert {int(plan.gather_index[place]) for place in places} == {token}
        assert len(places) == sum(token in sequence for sequence in layout.token_indices)
        assert int(plan.inverse_index[token]) in places


def test_whole_sequences_lie_as_their_offsets_say():
    layout = pack(FOUR).layout
    assert layout.concatenated.places.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 6, 7]
    assert layout.concatenated.back.tolist() == [0, 1, 2, 3, 4, 5, 9, 10]
    assert layout.cu_seqlens.tolist() == [0, 4, 6, 11]


@given(lengths)
@settings(deadline=None, derandomize=True, max_examples=50)
def test_padding_stays_within_a_half_and_a_few_tokens(sizes):
    buckets, _ = pack(sequences_of(sizes)).layout.padded_rows
    assert sum(bucket.gather_index.numel() for bucket in buckets) <= sum(1.5 * size + 16 for size in sizes)


def test_one_long_sequence_does_not_pad_the_short_ones():
    buckets, _ = pack(sequences_of([10, 400, 11, 12])).layout.padded_rows
    assert [tuple(bucket.gather_index.shape) for bucket in buckets] == [(3, 12), (1, 400)]


@given(st.lists(st.integers(2, 300), max_size=12), st.integers(1, 500))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_token_batches_take_every_sequence_once_within_the_budget(sizes, budget):
    groups = list(token_batches(sequences_of(sizes), budget))
    order = [index for group in groups for index in group]
    assert sorted(order) == list(range(len(sizes)))
    assert [sizes[index] for index in order] == sorted(sizes, reverse=True)
    tokens = [sum(sizes[index] for index in group) for group in groups]
    assert all(count <= budget or len(group) == 1 for count, group in zip(tokens, groups, strict=True))
    # no group could have taken the next sequence too
    assert all(count + sizes[after[0]] > budget for count, after in zip(tokens, groups[1:], strict=False))


def test_a_token_batch_may_fill_the_budget():
    assert list(token_batches(sequences_of([4, 6, 5]), 10)) == [[1], [2, 0]]
    assert list(token_batches(sequences_of([4, 6, 5]), 11)) == [[1, 2], [0]]


def test_the_same_prompt_comes_together_longest_first():
    asked = [("b", 2), ("a", 3), ("b", 5), ("a", 1), ("c", 4)]
    sequences = [TokenizedSequence(prompt, [ord(prompt)], [1] * count) for prompt, count in asked]
    assert prompt_order(sequences) == [2, 0, 4, 1, 3]
    in_order = [sequences[index] for index in prompt_order(sequences)]
    assert prompt_order(in_order) == [0, 1, 2, 3, 4]
    assert [index for group in token_batches(sequences, 6) for index in group] == prompt_order(sequences)


@given(alike, st.integers(1, 30), st.booleans())
@settings(deadline=None, derandomize=True, max_examples=100)
def test_token_batches_count_what_the_model_reads(sequences, budget, shared):
    def fits(group):
        items = [sequences[index] for index in group]
        whole = sum(map(len, items))
        return len(beginnings(items)) <= budget and whole <= 4 * budget if shared else whole <= budget

    groups = list(token_batches(sequences, budget, shared=shared))
    assert [index for group in groups for index in group] == prompt_order(sequences)
    assert all(fits(group) or len(group) == 1 for group in groups)
    # no group could have taken the next sequence too
    assert not any(fits([*group, after[0]]) for group, after in pairwise(groups))


def test_a_long_prompt_of_many_short_answers_is_bounded():
    """Attention holds it for each of them."""
    sequences = [TokenizedSequence(str(index), [0] * 50, [index, 1]) for index in range(40)]
    groups = list(token_batches(sequences, 100, shared=True))
    assert [len(group) for group in groups] == [7, 7, 7, 7, 7, 5]
