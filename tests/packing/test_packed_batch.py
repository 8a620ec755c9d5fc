"""The contents of a packed row, by hand and for any sequences."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.packing.packed_batch import pack
from efface.text.sequence import TokenizedSequence
from support.sequences import FOUR, TWO, distinct_prefixes, sharing_prefixes


@pytest.mark.parametrize(
    ("sequences", "input_ids", "position_ids", "token_indices"),
    [
        (TWO, [10, 11, 12, 13, 14, 20, 21], [0, 1, 2, 3, 4, 0, 1], ([0, 1, 2, 3, 4], [5, 6])),
        (
            FOUR,
            [10, 11, 12, 13, 20, 21, 14, 15],
            [0, 1, 2, 3, 0, 1, 3, 4],
            ([0, 1, 2, 3], [4, 5], [0, 1, 2, 6, 7], [0, 1, 2, 3]),
        ),
    ],
    ids=["nothing shared", "shared prefixes"],
)
def test_sequences_follow_each_other_and_shared_prefixes_are_stored_once(
    sequences, input_ids, position_ids, token_indices
):
    batch = pack(sequences)
    assert batch.input_ids.tolist() == [input_ids]
    assert batch.position_ids.tolist() == [position_ids]
    assert batch.token_indices == token_indices
    assert batch.sequences == tuple(sequences)


@given(sharing_prefixes)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_a_row_contains_each_prefix_once_and_every_sequence(sequences):
    batch = pack(sequences)
    assert batch.input_ids.shape == batch.position_ids.shape == (1, len(distinct_prefixes(sequences)))
    for item, indices in zip(sequences, batch.token_indices, strict=True):
        assert batch.input_ids[0, indices].tolist() == item.prompt + item.answer
        assert batch.position_ids[0, indices].tolist() == list(range(len(item)))


@pytest.mark.parametrize(
    ("sequences", "positions", "selected", "token_index", "targets", "sequence_index", "counts"),
    [
        (TWO, "answer", None, [1, 2, 3, 5], [12, 13, 14, 21], [0, 0, 0, 1], [3, 1]),
        (TWO, "all", None, [0, 1, 2, 3, 5], [11, 12, 13, 14, 21], [0, 0, 0, 0, 1], [4, 1]),
        # selected sequences are numbered from 0
        ([*TWO, TWO[0]], "answer", range(1, 3), [5, 1, 2, 3], [21, 12, 13, 14], [0, 1, 1, 1], [1, 3]),
        # two targets are predicted from the same token
        (
            FOUR,
            "answer",
            None,
            [1, 2, 4, 1, 2, 6, 1, 2],
            [12, 13, 21, 12, 14, 15, 12, 13],
            [0, 0, 1, 2, 2, 2, 3, 3],
            [2, 1, 3, 2],
        ),
    ],
)
def test_each_target_is_predicted_from_the_token_before(
    sequences, positions, selected, token_index, targets, sequence_index, counts
):
    at = pack(sequences).target_positions(positions, selected)
    assert at.token_index.tolist() == token_index
    assert at.targets.tolist() == targets
    assert at.sequence_index.tolist() == sequence_index
    assert at.counts == counts


def test_equal_predictions_are_found():
    at = pack(FOUR).target_positions("answer")
    assert at.unique_index.tolist() == [0, 1, 2, 4, 5]
    assert at.inverse_index.tolist() == [0, 1, 2, 0, 3, 4, 0, 1]


@given(sharing_prefixes, st.sampled_from(["answer", "all"]))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_target_positions_are_those_of_each_sequence(sequences, positions):
    batch = pack(sequences)
    at = batch.target_positions(positions)
    complete = [[*item.prompt, *item.answer] for item in sequences]
    first = [len(item.prompt) if positions == "answer" else 1 for item in sequences]
    assert at.targets.tolist() == list(chain(*(ids[start:] for ids, start in zip(complete, first, strict=True))))
    token_index = [indices[start - 1 : -1] for indices, start in zip(batch.token_indices, first, strict=True)]
    assert at.token_index.tolist() == list(chain(*token_index))
    assert torch.equal(at.token_index[at.unique_index][at.inverse_index], at.token_index)
    assert torch.equal(at.targets[at.unique_index][at.inverse_index], at.targets)
    predictions = {
        tuple(ids[: end + 1]) for ids, start in zip(complete, first, strict=True) for end in range(start, len(ids))
    }
    assert len(at.unique_index) == len(predictions)


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_tokens_themselves(positions):
    batch = pack(FOUR)
    at = batch.target_positions(positions, [1, 3], own=True)
    first = [FOUR[n].prompt_length if positions == "answer" else 0 for n in (1, 3)]
    ids = [FOUR[n].ids[start:] for n, start in zip((1, 3), first, strict=True)]
    assert at.targets.tolist() == list(chain(*ids))
    assert batch.input_ids[0, at.token_index].tolist() == list(chain(*ids))
    assert at.counts == [len(each) for each in ids]


@pytest.mark.parametrize(
    ("sequences", "named"),
    [
        ([TWO[0], TokenizedSequence("x/7", [], [1])], ["'x/7'", "prompt", "answer"]),
        ([TWO[0], TokenizedSequence("x/7", [1], [])], ["'x/7'", "prompt", "answer"]),
        ([], ["no sequence"]),
    ],
    ids=["no prompt", "no answer", "nothing"],
)
def test_what_cannot_be_packed_is_named(sequences, named):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is checked below
        pack(sequences)
    assert all(word in str(error.value) for word in named)
