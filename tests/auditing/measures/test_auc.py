from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.auditing.measures.auc import auc_gap
from efface.scores.privacy_leakage import auc, privleak


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_auc_is_the_share_of_pairs(members: list[float], unseen: list[float]) -> None:
    pairs = list(product(members, unseen))
    expected = sum((other > member) + 0.5 * (other == member) for member, other in pairs) / len(pairs)
    assert auc(members, unseen) == pytest.approx(expected)
    assert auc(unseen, members) == pytest.approx(1 - expected)


def test_the_gap_of_two_aucs_has_two_sides() -> None:
    control = [0.2, 0.4, 0.6, 0.8] * 10
    unseen = [0.1, 0.3, 0.5, 0.7, 0.9] * 8
    known = [each - 1 for each in control]
    forced = [each + 1 for each in control]
    for members in (known, forced):
        found = auc_gap((members, control), (unseen, unseen), draws=200)
        assert found.control == auc(control, unseen) == 0.5
        assert found.gap == 0.5
        assert 0.35 < found.low <= found.gap <= found.high < 0.65
    assert auc_gap((control, control), (unseen, unseen), draws=50).high == 0  # paired


def test_the_interval_of_a_gap_has_zero_where_the_models_do_not_differ() -> None:
    random = np.random.default_rng(0)
    members, unseen = random.normal(size=(2, 30)), random.normal(size=(2, 30))
    found = auc_gap((members[0], members[1]), (unseen[0], unseen[1]), draws=400)
    assert found.low == 0 < found.gap < found.high


def test_privleak_is_refused_where_it_divides_by_nearly_zero() -> None:
    assert privleak(1.0, 0.5) == -100
    assert privleak(0.5, 0.5) == 0
    assert privleak(0.46296296296296297, 0.5740740740740741) == pytest.approx(26.08695651561435, rel=1e-6)
    assert privleak(0.5, 0.981) is None
    assert privleak(0.5, 0.979) is not None
