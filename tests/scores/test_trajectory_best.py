"""Which epoch is the best: the harmonic mean of model utility and forget efficacy, on paper."""

from __future__ import annotations

import pytest

from efface.artifacts import Partial, Scores
from efface.scores.aggregate import best

Pair = tuple[float | None, float | None]


def scored(whole: Pair, partial: Pair = (None, None)) -> Scores:
    return Scores(
        model_utility=whole[0],
        model_utility_retain=0.9,  # what no choice may look at
        forget_efficacy=whole[1],
        partial=Partial(
            model_utility=partial[0], model_utility_retain=0.9, forget_efficacy=partial[1], metrics=["rouge"]
        ),
        missing={},
        embedder=None,
        judge=None,
        sets={},
    )


@pytest.mark.parametrize(
    ("pairs", "place"),
    [
        ([(0.9, 0.1), (0.5, 0.5), (0.2, 0.9)], 1),  # 0.18, 0.5, 0.327...: the arithmetic mean would say the last
        ([(0.6, 0.4), (0.5, 0.5), (0.7, 0.4)], 2),  # 0.48, 0.5, 0.509...
        ([(0.4, 0.6), (0.6, 0.4), (0.3, 0.3)], 0),  # equals: the earlier
        ([(0.1, 0.2), (0.3, 0.3), (0.3, 0.3), (0.1, 0.1)], 1),
        ([(0.0, 1.0), (0.1, 0.1)], 1),  # forgetting everything is worth nothing
        ([(0.0, 0.9), (0.0, 1.0)], 0),
        ([(0.3, 0.4)], 0),
    ],
)
def test_the_highest_harmonic_mean_the_earlier_of_equals(pairs: list[Pair], place: int) -> None:
    assert best([scored(pair) for pair in pairs]) == place
    assert best([scored((None, None), pair) for pair in pairs]) == place


@pytest.mark.parametrize("gap", [(None, 0.9), (0.9, None)])
def test_where_one_is_missing_anywhere_the_partial_ones_are_compared(gap: Pair) -> None:
    """A whole number and a partial one are means over different metrics: they do not compare."""
    first, second = scored((0.9, 0.9), (0.1, 0.1)), scored((0.5, 0.5), (0.2, 0.2))
    assert best([first, second]) == 0
    assert best([first, second, scored(gap, (0.15, 0.15))]) == 1


@pytest.mark.parametrize("gap", [(None, 0.9), (0.9, None), (None, None)])
def test_where_these_are_missing_too_none_is_best(gap: Pair) -> None:
    assert best([scored((0.9, 0.9), (0.5, 0.5)), scored((None, 0.9), gap)]) is None


def test_of_no_epochs_none_is_best() -> None:
    assert best([]) is None
