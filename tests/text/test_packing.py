"""Where things lie in a packed row, by hand and for any lengths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.text.packing import Layout, pack, token_batches
from efface.text.template import Encoded

TWO = [Encoded("a", [10, 11], [12, 13, 14]), Encoded("b", [20], [21])]
lengths = st.lists(st.integers(2, 300), min_size=1, max_size=12)


def sequences_of(sizes: list[int]) -> list[Encoded]:
    return [Encoded(str(index), [0], [1] * (size - 1)) for index, size in enumerate(sizes)]


def test_sequences_lie_one_behind_the_other():
    batch = pack(TWO)
    assert batch.input_ids.tolist() == [[10, 11, 12, 13, 14, 20, 21]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1]]
    assert batch.layout.lengths == (5, 2)
    assert batch.layout.offsets.tolist() == [0, 5, 7]
    assert batch.layout.longest == 5


def test_answer_reads_predict_each_answer_token_from_the_one_before():
    reads = pack(TWO).reads("answer")
    assert reads.rows.tolist() == [1, 2, 3, 5]
    assert reads.targets.tolist() == [12, 13, 14, 21]
    assert reads.sequence.tolist() == [0, 0, 0, 1]
    assert reads.counts == [3, 1]


def test_all_reads_predict_every_token_but_the_first_of_its_sequence():
    reads = pack(TWO).reads("all")
    assert reads.rows.tolist() == [0, 1, 2, 3, 5]
    assert reads.targets.tolist() == [11, 12, 13, 14, 21]
    assert reads.counts == [4, 1]


def test_reads_of_some_sequences_are_numbered_among_themselves():
    reads = pack([*TWO, TWO[0]]).reads("answer", range(1, 3))
    assert reads.rows.tolist() == [5, 8, 9, 10]
    assert reads.targets.tolist() == [21, 12, 13, 14]
    assert reads.sequence.tolist() == [0, 1, 1, 1]
    assert reads.counts == [1, 3]


@pytest.mark.parametrize("item", [Encoded("x/7", [], [1]), Encoded("x/7", [1], [])], ids=["no prompt", "no answer"])
def test_a_sequence_without_prompt_or_answer_is_refused_by_name(item):
    with pytest.raises(ValueError, match="'x/7' needs at least one token of prompt and one of answer"):
        pack([TWO[0], item])


def test_nothing_to_pack_is_refused():
    with pytest.raises(ValueError, match="nothing to pack"):
        pack([])


@given(lengths)
@settings(deadline=None, derandomize=True, max_examples=50)
def test_rows_for_attention_bring_every_token_back_to_its_place(sizes):
    layout = pack(sequences_of(sizes)).layout
    token = torch.arange(sum(sizes))
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    buckets, back = layout.buckets
    assert torch.equal(torch.cat([token[bucket.gather].flatten() for bucket in buckets])[back], token)
    seen = []
    for bucket in buckets:
        for row in bucket.gather:
            sequence = int(owner[row[0]])
            start = int(layout.offsets[sequence])
            # a row starts with its whole sequence, in order: causal attention then cannot see the padding behind
            assert torch.equal(row[: sizes[sequence]], token[start : start + sizes[sequence]])
            seen.append(sequence)
    assert sorted(seen) == list(range(len(sizes)))


@given(lengths)
@settings(deadline=None, derandomize=True, max_examples=50)
def test_padding_stays_within_a_half_and_a_few_tokens(sizes):
    buckets, _ = pack(sequences_of(sizes)).layout.buckets
    assert sum(bucket.gather.numel() for bucket in buckets) <= sum(1.5 * size + 16 for size in sizes)


def test_one_long_sequence_does_not_pad_the_short_ones():
    buckets, _ = Layout((10, 400, 11, 12), torch.tensor([0, 10, 410, 421, 433], dtype=torch.int32)).buckets
    assert [tuple(bucket.gather.shape) for bucket in buckets] == [(3, 12), (1, 400)]


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
