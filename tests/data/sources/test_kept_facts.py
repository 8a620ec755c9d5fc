"""Which well-known facts are asked, trained on and scored beside a forget set."""

from __future__ import annotations

import pytest

from efface.data.sources.kept_facts import facts_to_ask, in_other_words, known_facts_set, split_facts, without_forgotten
from efface.data.sources.known_facts import load_known_facts
from efface.schema import Item, fact_id

FACTS = [each.item for each in load_known_facts().questions]


def forget(question: str, answer: str, **fields: str) -> tuple[Item, ...]:
    return (Item(id="forget/1", question=question, answer=answer, **fields),)


def about(entity: str) -> set[str]:
    return {item.id for item in FACTS if item.entity == entity}


def test_a_larger_number_includes_a_smaller_one() -> None:
    few, many = (facts_to_ask((), count) for count in (40, 80))
    assert many[:40] == few
    assert len(facts_to_ask((), len(FACTS))) == len(FACTS) == 1190
    assert len({item.id.split("/")[1] for item in many}) > 10, "of many kinds"


@pytest.mark.parametrize(
    ("items", "left_out"),
    [
        (forget("Where was Albert Einstein born?", "In a town."), about("Albert Einstein")),
        (forget("Who was Einstein?", "A scientist."), about("Albert Einstein")),
        (forget("Who found it?", "It was found by Albert EINSTEIN."), about("the general theory of relativity")),
        (forget("Who was she?", "A scientist.", paraphrased_question="Who was Marie Curie?"), about("Marie Curie")),
        (forget("Which river is it?", "The Nile."), about("the Nile")),
    ],
)
def test_facts_that_name_what_is_forgotten_are_left_out(items: tuple[Item, ...], left_out: set[str]) -> None:
    kept = {item.id for item in without_forgotten(FACTS, items)}
    assert left_out
    assert kept.isdisjoint(left_out)
    assert len(kept) > 0.95 * len(FACTS), "and nearly all others stay"


def test_a_common_word_leaves_nothing_out() -> None:
    assert len(without_forgotten(FACTS, forget("Who was this physicist of 1905?", "A physicist."))) == len(FACTS)


def test_no_person_or_thing_is_both_trained_on_and_scored() -> None:
    answers = {each.id: f"It is {item.key_fact}." for item in FACTS for each in (item, in_other_words(item))}
    trained, scored = split_facts(answers, ())
    assert len(trained) / 2 + len(scored) == len(FACTS), "trained on in both wordings"
    assert {item.entity for item in trained}.isdisjoint({item.entity for item in scored})
    assert 0.28 < len(scored) / len(FACTS) < 0.4
    assert all(item.answer == answers[item.id] for item in trained), "the model's answer is trained on"
    assert all(item.answer != answers[item.id] for item in scored), "and the correct one is scored"
    some = {each.id: "So." for item in FACTS[::3] for each in (item, in_other_words(item))}
    assert {fact_id(item.id) for part in split_facts(some, ()) for item in part} == {fact_id(each) for each in some}
    assert set(split_facts(some, ())[1]) <= set(scored), "a fact is always in the same part"
    in_one = {item.id: "So." for item in FACTS}
    assert (len(split_facts(in_one, ())[0]), split_facts(in_one, ())[1]) == (len(trained) / 2, ())
    without = split_facts(answers, forget("Who was Einstein?", "A scientist."))
    assert about("Albert Einstein").isdisjoint({item.id for part in without for item in part})


def test_the_set_is_judged_by_key_facts() -> None:
    found = known_facts_set(FACTS[:3])
    assert (found.name, found.key_facts_only, len(found.items)) == ("known_facts", True, 6)
    assert all(item.paraphrased_question is None for item in found.items), "asked as they were known"


def test_each_fact_is_asked_in_two_wordings() -> None:
    first, second = known_facts_set(FACTS[:1]).items
    assert (first.question, second.question) == (FACTS[0].question, FACTS[0].paraphrased_question)
    assert first.id == fact_id(first.id) == fact_id(second.id) == FACTS[0].id
    assert second.id != first.id
    assert (first.answer, first.key_fact) == (second.answer, second.key_fact)
