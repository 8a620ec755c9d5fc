from __future__ import annotations

import numpy as np
import pytest

from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.metrics.token_entropy import ENTROPY_TOKENS, counted_tokens, normalized_entropy, token_entropy


def test_by_hand() -> None:
    assert normalized_entropy([1, 2, 3, 4]) == pytest.approx(1.0)
    assert normalized_entropy([1, 1, 2, 2]) == pytest.approx(0.5)  # 1 bit of 2
    assert normalized_entropy([1, 1, 1, 2, 3, 4, 5, 6]) == pytest.approx((3 / 8 * 1.415037499 + 5 / 8 * 3) / 3)
    assert normalized_entropy([7] * 200) == 0.0  # a collapsed model


def test_one_token_or_none() -> None:
    assert normalized_entropy([5]) == 0.0
    assert normalized_entropy([]) == 0.0


def test_never_above_one() -> None:
    assert all(normalized_entropy(range(n)) <= 1 for n in range(200))
    inputs = MetricInputs(id="q", retokenized_entropy=1 + 1e-12)  # a log's rounding
    assert token_entropy(inputs, tokens="retokenized") == 1.0


def published(tokens: list[str]) -> float:
    """What `compute_token_entropy` of the published code does with the tokens of a text."""
    _, counts = np.unique(tokens, return_counts=True)
    shares = counts / counts.sum()
    entropy = np.sum(-shares * np.log(shares) / np.log(2))
    return 0 if len(tokens) <= 1 else float(entropy / np.log2(len(tokens)))


@pytest.mark.parametrize("text", ["", "a", "a b", "a a", "the cat the cat sat", "no no no no no yes", "x " * 300])
def test_published_formula(text: str) -> None:
    assert normalized_entropy(text.split()) == pytest.approx(published(text.split()), abs=1e-12)


def test_the_definition_says_which_tokens_count() -> None:
    both = MetricInputs(id="q", token_entropy=0.25, retokenized_entropy=0.75)
    assert token_entropy(both, tokens="generated") == 0.25
    assert token_entropy(both, tokens="retokenized") == 0.75
    assert [counted_tokens(both, each) for each in ENTROPY_TOKENS] == [*ENTROPY_TOKENS]


def test_the_other_tokens_count_where_a_source_has_only_these() -> None:
    for tokens in ENTROPY_TOKENS:
        old, log = MetricInputs(id="q", token_entropy=0.25), MetricInputs(id="q", retokenized_entropy=0.75)
        assert (token_entropy(old, tokens=tokens), token_entropy(log, tokens=tokens)) == (0.25, 0.75)
        assert (counted_tokens(old, tokens), counted_tokens(log, tokens)) == ("generated", "retokenized")


def test_missing() -> None:
    for tokens in ENTROPY_TOKENS:
        assert isinstance(token_entropy(MetricInputs(id="q"), tokens=tokens), Missing)
        assert counted_tokens(MetricInputs(id="q"), tokens) is None
