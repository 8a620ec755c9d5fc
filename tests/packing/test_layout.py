"""Every sequence is complete in a layout, and every token finds its way back."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.packing.packed_batch import pack
from support.sequences import FOUR, TWO, lengths, sequences_of, sharing_prefixes


@pytest.mark.parametrize(
    ("sequences", "token_indices", "new_token_counts", "shared"),
    [
        (TWO, ([0, 1, 2, 3, 4], [5, 6]), (5, 2), False),
        (FOUR, ([0, 1, 2, 3], [4, 5], [0, 1, 2, 6, 7]), (4, 2, 2), True),  # the last has no new token
    ],
)
def test_sequences_with_new_tokens(sequences, token_indices, new_token_counts, shared):
    layout = pack(sequences).layout
    assert layout.token_indices == token_indices
    assert layout.new_token_counts == new_token_counts
    assert layout.has_shared_tokens == shared
    assert layout.lengths == tuple(map(len, token_indices))
    assert layout.max_length == 5


def test_concatenated_sequences_have_the_boundaries_of_cu_seqlens():
    layout = pack(FOUR).layout
    assert layout.concatenated.gather_index.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 6, 7]
    assert layout.concatenated.inverse_index.tolist() == [0, 1, 2, 3, 4, 5, 9, 10]
    assert layout.cu_seqlens.tolist() == [0, 4, 6, 11]
    assert layout.cu_seqlens.dtype == torch.int32


@given(lengths.map(sequences_of) | sharing_prefixes)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_padded_rows_contain_every_sequence_and_bring_every_token_back(sequences):
    batch = pack(sequences)
    buckets, plan = batch.layout.padded_rows
    token = torch.arange(batch.input_ids.shape[1])
    assert torch.equal(plan.gather_index, torch.cat([bucket.gather_index.flatten() for bucket in buckets]))
    assert torch.equal(plan.gather_index[plan.inverse_index], token)
    rows = [row.tolist() for bucket in buckets for row in bucket.gather_index]
    assert len(rows) == len(batch.layout.token_indices)
    for indices in batch.layout.token_indices:
        # first in its row, in order: with causal attention, padding after it is invisible
        assert indices in [row[: len(indices)] for row in rows]
    assert {index for indices in batch.layout.token_indices for index in indices} == set(token.tolist())


@given(lengths.map(sequences_of) | sharing_prefixes, st.sampled_from(["padded_rows", "concatenated"]))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_the_slots_of_a_token_are_all_that_contain_it_except_padding(sequences, form):
    layout = pack(sequences).layout
    plan = layout.padded_rows[1] if form == "padded_rows" else layout.concatenated
    assert (plan.slot_offsets is not None) == layout.has_shared_tokens
    slots = [[slot] for slot in plan.slots.tolist()]
    if plan.slot_offsets is not None:
        slots = [part.tolist() for part in plan.slots.tensor_split(plan.slot_offsets[1:])]
    assert sum(map(len, slots)) == sum(layout.lengths) == len(set(chain(*slots)))
    for token, of_token in enumerate(slots):
        assert {int(plan.gather_index[slot]) for slot in of_token} == {token}
        assert len(of_token) == sum(token in sequence for sequence in layout.token_indices)
        assert int(plan.inverse_index[token]) in of_token


@given(lengths)
@settings(deadline=None, derandomize=True, max_examples=50)
def test_padding_is_at_most_half_of_a_sequence_and_16_tokens(sizes):
    buckets, _ = pack(sequences_of(sizes)).layout.padded_rows
    assert sum(bucket.gather_index.numel() for bucket in buckets) <= sum(1.5 * size + 16 for size in sizes)


def test_one_long_sequence_does_not_pad_the_short_ones():
    buckets, _ = pack(sequences_of([10, 400, 11, 12])).layout.padded_rows
    assert [tuple(bucket.gather_index.shape) for bucket in buckets] == [(3, 12), (1, 400)]


def test_a_bucket_ends_where_a_sequence_is_longer_than_one_and_a_half_times_the_shortest_and_16():
    buckets, _ = pack(sequences_of([32, 10, 31])).layout.padded_rows
    assert [tuple(bucket.gather_index.shape) for bucket in buckets] == [(2, 31), (1, 32)]
