from __future__ import annotations

import re
from collections import Counter

import pytest

from efface.data.sources.known_facts import Attribute, FactType, _differ, load_fact_types, load_known_facts
from efface.schema import Item

FACT_TYPES = load_fact_types()
QUESTIONS = load_known_facts().questions
ITEMS = {question.item.id: question.item for question in QUESTIONS}


def contains(text: str, fact: str) -> bool:
    """Whether all words of a fact follow each other in a text."""
    words, wanted = (re.findall(r"\w+", each.casefold()) for each in (text, fact))
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words)))


def wordings(item: Item) -> tuple[str, ...]:
    assert item.paraphrased_question
    assert item.paraphrased_answer
    return item.question, item.paraphrased_question, item.answer, item.paraphrased_answer


def test_numbers_of_questions_and_entities() -> None:
    assert len(QUESTIONS) == len(ITEMS) == 1190
    assert (
        len({item.entity for item in ITEMS.values()})
        == sum(len(fact_type.entities) for fact_type in FACT_TYPES.values())
        == 754
    )
    assert Counter(question.kind for question in QUESTIONS).most_common(3) == [
        ("people", 272),
        ("countries", 254),
        ("books", 97),
    ]


def test_ids_contain_type_entity_and_attribute() -> None:
    assert all(question.item.id.startswith(f"fact/{question.kind}/{question.item.entity}/") for question in QUESTIONS)
    assert ITEMS["fact/countries/France/capital"].answer == "The capital of France is Paris."


def test_the_key_fact_occurs_only_in_correct_answers() -> None:
    for item in ITEMS.values():
        assert item.key_fact
        question, other_question, answer, other_answer = wordings(item)
        assert contains(answer, item.key_fact)
        assert contains(other_answer, item.key_fact)
        for text in (question, other_question, *item.perturbed_answers):
            assert not contains(text, item.key_fact), f"{item.id}: {text!r} would count as correct"


def test_wrong_answers_have_the_wording_of_the_correct_one() -> None:
    for id, item in ITEMS.items():
        _, label, name, attribute = id.split("/")
        fact_type = FACT_TYPES[label]
        assert len({*item.perturbed_answers, item.answer}) == 6
        facts = {str(facts[attribute]) for facts in fact_type.entities.values() if attribute in facts}
        template = fact_type.attributes[attribute].answer.replace("$name", name)
        expected = {template.replace("$fact", fact) for fact in facts}
        assert {text[1:] for text in item.perturbed_answers} <= {
            text[1:] for text in expected
        }  # the first is a capital


def test_spelling() -> None:
    for item in ITEMS.values():
        for text, end in zip(wordings(item), "??..", strict=True):
            assert text == " ".join(text.split())
            assert text[0] == text[0].upper()
            assert text[-1] == end
            assert text.isascii(), f"{item.id}: models may omit accents"
            assert "$" not in text


def test_questions_and_names_are_unique() -> None:
    assert len({item.question for item in ITEMS.values()}) == len(ITEMS)
    names = Counter(name for fact_type in FACT_TYPES.values() for name in fact_type.entities)
    assert names.most_common(1)[0][1] == 1
    attributes = {(label, attribute) for label, fact_type in FACT_TYPES.items() for attribute in fact_type.attributes}
    assert attributes == {tuple(id.split("/")[1::2]) for id in ITEMS}


def test_the_key_fact_of_a_person_is_the_surname() -> None:
    item = ITEMS["fact/books/Hamlet/author"]
    assert (item.key_fact, item.answer) == ("Shakespeare", "Hamlet was written by William Shakespeare.")
    assert ITEMS["fact/tools/barometer/quantity"].key_fact == "pressure"
    assert ITEMS["fact/geography/the Volga/sea"].key_fact == "Caspian Sea"


@pytest.mark.parametrize(
    ("key", "one", "two", "expected"),
    [
        ("whole", "Paris", "Rome", True),
        ("whole", "2", "29", False),
        ("whole", "H2O2", "h2o", False),
        ("whole", "North America", "South America", True),
        ("last word", "North America", "South America", False),
        ("last word", "Lewis Carroll", "C. S. Lewis", False),
        ("last word", "Jane Austen", "Bram Stoker", True),
    ],
)
def test_facts_that_differ_enough_for_a_wrong_answer(key: str, one: str, two: str, expected: bool) -> None:
    texts = {"question": "?", "answer": "$fact", "other_question": "?", "other_answer": "$fact"}
    wording = Attribute.model_validate({"key": key, **texts})
    assert _differ(wording, one, two) is _differ(wording, two, one) is expected


def test_facts_may_be_numbers() -> None:
    assert ITEMS["fact/events/the Battle of Hastings/year"].key_fact == "1066"
    assert FactType.model_validate({"attributes": {}, "entities": {"a": {"b": 3}}}).entities["a"]["b"] == 3


def test_facts_are_the_same_as_in_earlier_versions() -> None:
    assert load_known_facts().sha256 == "671b37b8e066226c7fc6e28ab19595a4c325c6f72815d8e07463f09cee95e8a2", (
        "known facts changed: what `efface data probe` finds no longer compares; say so in CHANGELOG.md"
    )
