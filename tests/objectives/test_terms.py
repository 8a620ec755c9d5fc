"""By what each sequence's loss is divided, worked out on paper."""

from __future__ import annotations

import pytest

from efface.objectives.terms import DistributionTerm, SequenceTerm, TokenTerm, count_loss_tokens, divisors
from efface.text.formatter import TokenizedSequence

VIEWS = {
    "forget": [TokenizedSequence("a", [1, 2], [3, 4, 5]), TokenizedSequence("b", [1, 2, 3, 4], [5])],
    "retain": [TokenizedSequence("c", [1], [2, 3]), TokenizedSequence("d", [1], [2])],
}


def over(positions, average="tokens", padded_length=None):
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
    assert [count_loss_tokens(over("answer"), first), count_loss_tokens(over("all"), first)] == [3, 4]
    assert [count_loss_tokens(over("answer"), second), count_loss_tokens(over("all"), second)] == [1, 4]
    assert count_loss_tokens(TokenTerm("forget", lambda logp: logp), second) == 1


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (TokenTerm("forget", lambda logp: logp), [4, 4]),
        (TokenTerm("retain", lambda logp: logp), [3, 3]),
        (SequenceTerm(("retain", "forget"), lambda *logp: logp[0], reference=True), [2, 2]),
        (over("answer"), [4, 4]),
        (over("all"), [8, 8]),
        (over("answer", "sequences"), [6, 2]),
        (over("all", "sequences"), [8, 8]),
        (over("all", "padded", 500), [998, 998]),
    ],
)
def test_divisors(term, expected):
    assert divisors(term, VIEWS) == expected
