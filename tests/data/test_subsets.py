from __future__ import annotations

import pytest

from efface.data.subsets import exclude_items, forgotten_before_sets, remaining_retain, retain_evaluation_set
from efface.errors import EffaceError
from efface.schema import Item
from support.messages import assert_names


def items(*numbers: int) -> tuple[Item, ...]:
    return tuple(Item(id=str(n), question=f"Who is {n}?", answer=f"{n} is a poet.") for n in numbers)


def ids(found: tuple[Item, ...]) -> list[str]:
    return [item.id for item in found]


def test_earlier_requests_are_numbered_evaluation_sets() -> None:
    first, second = forgotten_before_sets([items(1, 2), list(items(3))])
    assert (first.name, first.items, first.entailment_premise) == ("forgotten-1", items(1, 2), "output")
    assert (second.name, second.items) == ("forgotten-2", items(3))


def test_items_with_another_prompt_or_answer_remain() -> None:
    one, *others = items(1, 2, 3)
    other_answer = one.model_copy(update={"id": "4", "answer": "1 is a smith."})
    same = one.model_copy(update={"id": "x", "question": "who  is 1?", "answer": "1 IS a poet. "})
    assert ids(exclude_items([one, *others, other_answer], [same])) == ["2", "3", "4"]


def test_the_retain_set_after_two_requests() -> None:
    assert ids(remaining_retain(items(1, 2, 3, 4), [items(1), items(3, 9)], name="mine")) == ["2", "4"]


def test_scored_retain_items_are_chosen_once() -> None:
    """The first request forgets 0 and 1; three of the other eight are chosen, one of which the second forgets."""
    everything = items(*range(10))
    scored = [
        retain_evaluation_set(everything, requests, 3, name="mine")
        for requests in ([items(0, 1)], [items(0, 1), items(4)])
    ]
    assert [ids(each.items) for each in scored] == [["2", "4", "7"], ["2", "7"]]
    assert {(each.name, each.entailment_premise) for each in scored} == {("retain", "answer")}
    assert ids(retain_evaluation_set(everything, [], 2, name="mine").items) == ["0", "5"]


def test_errors_about_an_empty_retain_set() -> None:
    with pytest.raises(EffaceError) as caught:
        remaining_retain(items(1, 2), [items(1), items(2)], name="mine")
    assert_names(str(caught.value), *["mine: after 2 request(s), nothing is left", "retain more"])
    with pytest.raises(EffaceError) as caught:
        retain_evaluation_set(items(*range(10)), [items(0), items(1)], 1, name="mine")
    assert_names(str(caught.value), *["mine: after 2 requests, none of the 1 scored", "raise data.retain_evaluation"])
