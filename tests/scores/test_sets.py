"""Names of evaluation sets."""

from __future__ import annotations

import pytest

from efface.errors import EffaceError
from efface.scores.sets import check_names, is_forgotten, sort_names

NAMES = ("forgotten-10", "forgotten-2", "forget", "world_facts", "retain")


def test_sets_are_listed_in_one_order() -> None:
    assert sort_names(NAMES) == ["retain", "world_facts", "forget", "forgotten-2", "forgotten-10"]


def test_forget_sets_of_earlier_requests_are_numbered_from_1() -> None:
    names = ("forgotten-1", "forgotten-0", "forgotten-01", "forgotten-", "forgotten-1x", "forget")
    assert [is_forgotten(name) for name in names] == [True, False, False, False, False, False]


def test_unknown_names_are_refused() -> None:
    check_names(NAMES, where="here")
    with pytest.raises(EffaceError, match=r"here: 'neighbour' .*; did you mean 'neighbor'\?"):
        check_names(("retain", "neighbour"), where="here")
