"""Which questions are searched, and which are reported."""

from __future__ import annotations

from itertools import chain

import pytest

from efface.errors import EffaceError
from efface.run.selection.held_out import QUICK_FACTS, QUICK_FORGET, QUICK_QUESTIONS, hold_out, quick_sets, records_of
from efface.schema import OTHER_WORDS, EvaluationSet, Item, fact_id
from support.messages import assert_names


def a_set(name, count, **fields):
    items = tuple(
        Item(id=f"{name}/{number}", question=f"Where is {number}?", answer=f"In {number}.", **fields)
        for number in range(count)
    )
    return EvaluationSet(name=name, items=items, entailment_premise="output")


def ids(sets, name):
    return [item.id for each in sets if each.name == name for item in each.items]


def test_each_set_to_keep_is_divided_and_always_in_the_same_way():
    sets = [a_set("forget", 5), a_set("retain", 21), a_set("world_facts", 8)]
    held, again = hold_out(sets, None), hold_out(sets[::-1], None)
    for name, count in (("retain", 21), ("world_facts", 8)):
        searched, reported = ids(held.searched, name), ids(held.reported, name)
        assert sorted(searched + reported) == sorted(ids(sets, name))
        assert len(searched) == (count + 1) // 2
        assert searched == ids(again.searched, name)
    assert held.unseen == 10 + 4
    more = hold_out([a_set("forget", 5), a_set("retain", 22)], None)
    moved = set(ids(held.searched, "retain")) - set(ids(more.searched, "retain"))
    assert len(moved) <= 1, "a new question leaves the others where they were"


def test_where_there_are_known_facts_no_other_set_to_keep_is_looked_at():
    held = hold_out([a_set("forget", 5), a_set("retain", 21), a_set("known_facts", 9)], None)
    assert {each.name for each in (*held.searched, *held.reported)} == {"forget", "known_facts"}
    assert (len(ids(held.searched, "known_facts")), held.unseen) == (5, 4)


def test_a_fact_that_is_asked_in_two_wordings_counts_once():
    once = a_set("known_facts", 11)
    again = [item.model_copy(update={"id": item.id + OTHER_WORDS}) for item in once.items]
    facts = once.model_copy(update={"items": tuple(chain.from_iterable(zip(once.items, again, strict=True)))})
    held = hold_out([a_set("forget", 5), facts], None)
    searched, reported = ({fact_id(id_) for id_ in ids(each, "known_facts")} for each in (held.searched, held.reported))
    assert searched.isdisjoint(reported), "both wordings of a fact are on one side"
    assert (len(searched), len(reported), held.unseen) == (6, 5, 5)
    names = {fact_id(item.id) for item in once.items}
    (quick,) = quick_sets([facts], names)
    assert quick.items == facts.items, "eleven facts, of which up to 64 are looked at"
    (quick,) = quick_sets([facts], {"known_facts/2", "known_facts/5"})
    assert len(quick.items) == 4, "facts that were not known before say nothing"
    many = a_set("known_facts", 200)
    (quick,) = quick_sets([many], {item.id for item in many.items})
    assert len(quick.items) == QUICK_FACTS


def test_the_limit_comes_first():
    held = hold_out([a_set("forget", 9), a_set("retain", 20)], 6)
    assert {*ids(held.searched, "retain"), *ids(held.reported, "retain")} == {f"retain/{number}" for number in range(6)}
    assert len(ids(held.searched, "forget")) == 6


def test_the_forget_set_is_reported_in_other_words_if_it_has_them():
    plain, other = a_set("forget", 3), a_set("forget", 3, paraphrased_question="In which town?")
    retain = a_set("retain", 8)
    assert not hold_out([plain, retain], None).paraphrased
    held = hold_out([other, retain], None)
    assert held.paraphrased
    (forget,) = (each for each in held.reported if each.name == "forget")
    assert {item.question for item in forget.items} == {"In which town?"}
    asked = held.as_asked()
    assert ids(asked.reported, "retain") == ids(held.reported, "retain")
    (forget,) = (each for each in asked.reported if each.name == "forget")
    assert forget == other


def test_earlier_forget_sets_are_left_out():
    held = hold_out([a_set("forget", 3), a_set("forgotten-1", 3), a_set("retain", 8)], None)
    assert {each.name for each in held.searched} == {"forget", "retain"}


def test_a_quick_score_has_few_questions():
    quick = quick_sets([a_set("forget", 100), a_set("retain", 100), a_set("real_authors", 7)], ())
    assert {each.name: len(each.items) for each in quick} == {
        "forget": QUICK_FORGET,
        "retain": QUICK_QUESTIONS,
        "real_authors": 7,
    }


@pytest.mark.parametrize(
    ("sets", "named"),
    [
        ([a_set("retain", 9)], "forget set"),
        ([a_set("forget", 9)], "data.retain"),
        ([a_set("forget", 9), a_set("retain", 3)], "retain has 3"),
    ],
)
def test_too_few_questions_are_refused(sets, named):
    with pytest.raises(EffaceError) as refused:
        hold_out(sets, None)
    assert_names(str(refused.value), named)


def test_a_missing_record_is_refused():
    with pytest.raises(EffaceError) as refused:
        records_of([a_set("retain", 2)], {"retain": []})
    assert_names(str(refused.value), "retain/0")
