from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from efface.auditing.measures.statistics import (
    adjusted_p_values,
    excess,
    leak_at_k,
    paired_interval,
    rate_interval,
)

COUNTS = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
HITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)


@given(COUNTS)
def test_the_interval_of_a_rate_is_scipys(counts: tuple[int, int]) -> None:
    hits, n = counts
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert rate_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_impossible_counts_are_refused(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="hits"):
        rate_interval(hits, n)


@given(HITS)
@settings(deadline=None, max_examples=25)
def test_the_excess_is_within_its_interval_and_changes_sign_with_the_models(pairs: list[tuple[bool, bool]]) -> None:
    after, control = [list(each) for each in zip(*pairs, strict=True)]
    one, other = excess(after, control, draws=400), excess(control, after, draws=400)
    assert one.value == pytest.approx(np.mean(after) - np.mean(control))
    assert one.low - 1e-12 <= one.value <= one.high + 1e-12 or len(pairs) < 5
    assert (one.value, one.low) == pytest.approx((-other.value, -other.high))


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((59, 6, 16, 80), -0.1186, -0.0046),  # Fagerland, Lydersen and Laake (2017), chapter 8: Cavo et al. (2012)
        ((0, 0, 0, 20), -0.1611, 0.1611),  # by hand: z^2 / (20 + z^2)
        ((0, 20, 0, 0), 1 - 0.1611 * 2**0.5, 1),
    ],
)
def test_the_paired_interval_is_newcombes(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    assert paired_interval(*counts) == pytest.approx((low, high), abs=5e-5)
    both, first, second, neither = counts
    assert paired_interval(both, second, first, neither) == pytest.approx((-high, -low), abs=5e-5)


@given(st.tuples(*[st.integers(0, 15)] * 4).filter(lambda counts: sum(counts) > 0))
def test_the_paired_interval_by_its_formula(counts: tuple[int, int, int, int]) -> None:
    both, first, second, neither = counts
    n, p, q = sum(counts), (both + first) / sum(counts), (both + second) / sum(counts)
    of_first, of_second = (
        stats.binomtest(each, n).proportion_ci(0.95, "wilson") for each in (both + first, both + second)
    )
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    product = both * neither - first * second
    corrected = product if product < 0 else max(product - n / 2, 0)
    phi = corrected / margins**0.5 if margins else 0
    down, up = p - of_first.low, of_second.high - q
    assert paired_interval(*counts)[0] == pytest.approx(p - q - (down**2 - 2 * phi * down * up + up**2) ** 0.5)
    up, down = of_first.high - p, q - of_second.low
    assert paired_interval(*counts)[1] == pytest.approx(p - q + (down**2 - 2 * phi * down * up + up**2) ** 0.5)


@pytest.mark.parametrize("hits", [0, 1, 10, 20])
@pytest.mark.parametrize("subjects", [None, [number // 2 for number in range(20)]])
def test_no_difference_in_a_few_facts_is_not_known_exactly(hits: int, subjects: list[int] | None) -> None:
    same = [number < hits for number in range(20)]
    found = excess(same, same, subjects)
    assert found.value == 0
    assert found.high == pytest.approx(-found.low)
    assert found.high > 0.08
    if subjects is not None:
        assert found.by_subject
        assert found.high > 1.3 * excess(same, same).high  # ten subjects say less than 20 facts


def test_every_fact_differs() -> None:
    found = excess([True] * 20, [False] * 20, [number // 2 for number in range(20)])
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.65


def test_the_excess_is_paired() -> None:
    hits = [True, False] * 20
    assert excess(hits, hits).high < 0.05  # unpaired, two rates of one half would differ by up to 0.2
    shifted = excess([True] * 30 + [False] * 10, [True] * 20 + [False] * 20)
    assert shifted.value == 0.25
    assert (shifted.low, shifted.high) == pytest.approx(paired_interval(20, 10, 0, 10))


def test_subjects_are_resampled_where_there_are_ten() -> None:
    after = [number < 100 for number in range(200)]  # whole subjects
    alone = excess(after, [False] * 200)
    few = excess(after, [False] * 200, [number // 40 for number in range(200)])
    many = excess(after, [False] * 200, [number // 20 for number in range(200)])
    assert (alone.by_subject, few.by_subject, many.by_subject) == (False, False, True)
    assert (few.low, few.high) == (alone.low, alone.high)
    assert many.high - many.low > 2 * (alone.high - alone.low)
    assert many.value == alone.value == 0.5


def test_the_interval_of_an_excess_covers_the_truth() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for number in range(200):
        after, control = random.random(60) < 0.4, random.random(60) < 0.1
        found = excess(after.tolist(), control.tolist(), seed=number, draws=500)
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 200


def test_facts_are_needed() -> None:
    with pytest.raises(ValueError, match="at least one fact"):
        excess([], [])
    with pytest.raises(ValueError, match="subject"):
        excess([True], [False], ["a", "b"])


def test_adjusted_p_values_are_those_of_all_sign_flips() -> None:
    after = [[True] * 6 + [False] * 2, [True, False] * 4, [True] * 8]
    control = [[False] * 8, [False, True] * 4, [False] * 7 + [True]]
    difference = np.array(after, dtype=float) - np.array(control, dtype=float)
    scale = np.sqrt(np.abs(difference).sum(axis=1))
    observed = difference.sum(axis=1) / scale
    flips = np.array(list(product([-1, 1], repeat=8)))
    largest = ((flips @ difference.T) / scale).max(axis=1)
    exact = [(largest >= each - 1e-9).mean() for each in observed]
    assert adjusted_p_values(after, control, draws=20_000) == pytest.approx(exact, abs=0.01)


def test_adjusting_counts_the_attacks() -> None:
    after, control = [True] * 6 + [False] * 14, [False] * 20
    [alone] = adjusted_p_values([after], [control])
    assert alone == pytest.approx(0.5**6, abs=0.01)  # McNemar's exact test of six discordant facts
    random = np.random.default_rng(1)
    others = (random.random((9, 20)) < 0.4).tolist()
    other_controls = (random.random((9, 20)) < 0.4).tolist()
    first, *rest = adjusted_p_values([after, *others], [control, *other_controls])
    assert first > 2 * alone
    assert min(rest) > 0.05
    assert adjusted_p_values([control], [control]) == [1.0]


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_leak_at_k_is_the_share_of_subsets_with_a_hit(numbers: tuple[int, int, int]) -> None:
    n, hits, k = numbers
    subsets = list(combinations([True] * hits + [False] * (n - hits), k))
    assert leak_at_k(hits, n, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_leak_at_k_with_many_samples() -> None:
    assert leak_at_k(1, 10_000, 1) == pytest.approx(1e-4, rel=1e-6)
    assert leak_at_k(1, 200, 16) == pytest.approx(16 / 200)
    with pytest.raises(ValueError, match="k is 5"):
        leak_at_k(1, 4, 5)
