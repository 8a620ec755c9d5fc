"""The divisors of each term against values computed by hand."""

from __future__ import annotations

import pytest

from efface.errors import EffaceError
from efface.objectives.terms import (
    DistributionTerm,
    Objective,
    SequenceTerm,
    StateTerm,
    TokenTerm,
    count_loss_tokens,
    divisors,
)
from efface.packing.layers import LayerPositions
from efface.text.sequence import TokenizedSequence

VIEWS = {
    "forget": [TokenizedSequence("a", [1, 2], [3, 4, 5]), TokenizedSequence("b", [1, 2, 3, 4], [5])],
    "retain": [TokenizedSequence("c", [1], [2, 3]), TokenizedSequence("d", [1], [2])],
}


def distribution_term(positions, average="tokens", padded_length=None):
    return DistributionTerm(
        "forget",
        lambda logits: logits[:, 0],
        positions=positions,
        reference=False,
        average=average,
        padded_length=padded_length,
    )


def test_tokens_are_those_of_the_answer_or_all_but_the_first():
    first, second = VIEWS["forget"]
    answer, complete = distribution_term("answer"), distribution_term("all")
    assert [count_loss_tokens(term, first) for term in (answer, complete)] == [3, 4]
    assert [count_loss_tokens(term, second) for term in (answer, complete)] == [1, 4]
    assert count_loss_tokens(TokenTerm("forget", lambda logp: logp), second) == 1


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (TokenTerm("forget", lambda logp: logp), [4, 4]),
        (TokenTerm("retain", lambda logp: logp), [3, 3]),
        (SequenceTerm(("retain", "forget"), lambda *logp: logp[0], reference=True), [2, 2]),
        (distribution_term("answer"), [4, 4]),
        (distribution_term("all"), [8, 8]),
        (distribution_term("answer", "sequences"), [6, 2]),
        (distribution_term("all", "sequences"), [8, 8]),
        (distribution_term("all", "padded", 500), [998, 998]),
    ],
)
def test_divisors(term, expected):
    assert divisors(term, VIEWS) == expected


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (TokenTerm("forget", lambda logp: logp), [2 * 4, 2 * 4, 2 * 3]),
        (SequenceTerm(("forget",), lambda logp: logp, reference=False), [2 * 2, 2 * 2, 2 * 1]),
        (distribution_term("all", "padded", 500), [2 * 998, 2 * 998, 2 * 499]),
        (distribution_term("answer", "sequences"), [2 * 6, 2 * 2, 2 * 3]),
    ],
)
def test_averages_of_averages_of_two_items(term, expected):
    views = {"forget": [*VIEWS["forget"], TokenizedSequence("c", [1], [2, 3, 4])]}
    assert divisors(term, views, micro_batch_size=2) == expected


def test_one_view_in_rows_of_two_lengths():
    terms = (distribution_term("all", "padded", 500), distribution_term("all", "padded", 300))
    with pytest.raises(EffaceError, match=r"method custom pads the view forget to 500 and to 300 tokens; give both"):
        _ = Objective("custom", forget=terms, retain=()).row_lengths
    assert Objective("custom", forget=terms[:1] * 2, retain=()).row_lengths == {"forget": 500}


def test_what_an_objective_reads_and_needs():
    token = TokenTerm("forget", lambda logp: logp)
    pair = SequenceTerm(("retain_idk", "retain"), lambda *logp: logp[0], reference=True)
    alone = SequenceTerm(("forget",), lambda *logp: logp[0], reference=False)
    kl = DistributionTerm("retain", lambda logits, ref: logits[:, 0], positions="all", reference=True)
    objective = Objective("custom", forget=(token, alone), retain=(pair, kl, kl))
    assert objective.terms == (token, alone, pair, kl, kl)
    assert objective.views == ("forget", "retain_idk", "retain")
    assert objective.sequence_reference_views == ("retain_idk", "retain")
    assert objective.distribution_reference_views == (("retain", "all"),)
    assert objective.needs_distribution
    assert not Objective("custom", forget=(token, alone), retain=()).needs_distribution


def state_term(positions="answer", average="tokens"):
    reads = LayerPositions(1, positions)
    return StateTerm("forget", lambda states: states[:, 0], reads, reference=False, average=average)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (state_term(), [4, 4]),
        (state_term("all"), [10, 10]),
        (state_term("answer", "sequences"), [6, 2]),
        (state_term("answer", "broadcast"), [3, 3]),  # 2 x 2 / (1/3 + 1/1)
    ],
)
def test_divisors_of_states(term, expected):
    assert divisors(term, VIEWS) == pytest.approx(expected)


@pytest.mark.parametrize(("skip", "counts", "expected"), [(1, [2, 0], [2, 2]), (3, [0, 0], [1, 1])])
def test_first_tokens_that_do_not_count(skip, counts, expected):
    term = DistributionTerm("forget", lambda logits: logits[:, 0], positions="answer", reference=False, skip=skip)
    assert [count_loss_tokens(term, item) for item in VIEWS["forget"]] == counts
    assert divisors(term, VIEWS) == expected


def test_positions_of_the_tokens_themselves_count_the_first_one_too():
    term = DistributionTerm("forget", lambda logits: logits[:, 0], positions="all", reference=False, own=True)
    assert [count_loss_tokens(term, item) for item in VIEWS["forget"]] == [5, 5]


def test_the_layers_that_an_objective_reads():
    states, tokens = state_term(), TokenTerm("retain", lambda logp: logp)
    assert Objective("custom", forget=(states,), retain=(states,)).last_layer == 1
    mixed = Objective("custom", forget=(states,), retain=(tokens,))
    assert (mixed.layers, mixed.last_layer) == ((1,), None)
    assert Objective("custom", forget=(tokens,), retain=()).last_layer is None
