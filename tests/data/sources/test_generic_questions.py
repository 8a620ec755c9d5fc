from __future__ import annotations

import hashlib
import re
from collections import Counter

import pytest

from efface.data.sources.generic_questions import (
    first_generic_questions,
    load_generic_questions,
    truncate_to_sentence,
    with_model_answers,
)
from efface.data.sources.kept_facts import in_other_words
from efface.data.sources.known_facts import load_known_facts
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task, fact_id

QUESTIONS = load_generic_questions()
TOPICS = {question.topic for question in QUESTIONS}


def words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[\w']+", text.casefold()))


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """All runs of `length` consecutive words of the text."""
    tokens = words(text)
    return {tokens[start : start + length] for start in range(len(tokens) - length + 1)}


def test_twenty_questions_on_each_of_twenty_topics() -> None:
    assert len(QUESTIONS) == 400
    assert Counter(question.topic for question in QUESTIONS) == dict.fromkeys(TOPICS, 20)
    assert len(TOPICS) == 20


def test_ids_contain_topic_and_number() -> None:
    assert {question.id for question in QUESTIONS} == {
        f"generic/{topic}/{number:02d}" for topic in TOPICS for number in range(1, 21)
    }
    assert all(question.id.split("/")[1] == question.topic for question in QUESTIONS)


@pytest.mark.parametrize("count", [1, 19, 20, 30, 399])
def test_the_first_questions_cover_the_topics_evenly(count: int) -> None:
    counts = Counter(question.topic for question in QUESTIONS[:count])
    assert len(counts) == min(count, 20)
    assert max(counts.values()) - min(counts[topic] for topic in TOPICS) <= 1


def test_spelling() -> None:
    for text in (question.question for question in QUESTIONS):
        assert text == " ".join(text.split())
        assert text[0].isupper()
        assert text[-1] in ".?!"
        assert 3 <= len(words(text)) <= 50


def test_questions_are_different() -> None:
    assert len({words(question.question) for question in QUESTIONS}) == 400
    seen = Counter(run for question in QUESTIONS for run in runs(question.question, 8))
    assert [run for run, times in seen.items() if times > 1] == []


def test_questions_are_the_same_as_in_earlier_versions() -> None:
    text = "\n".join(f"{question.id} {question.question}" for question in QUESTIONS)
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "8ddb52162b169b3d81f36ab5ed57690fd7b9bb6e6997a766a705882fd57e622d"
    ), "generic questions changed: runs with retain=model-answers no longer compare; say so in CHANGELOG.md"


def answers(count):
    return {each.id: f"Answer to {each.id}." for each in first_generic_questions(count)}


def task():
    forget = (Item(id="f", question="Who?", answer="She."),)
    sets = (EvaluationSet(name="forget", items=forget, entailment_premise="output"),)
    return Task(name="mine", forget=forget, retain=(), evaluation=sets, refusals=("no",))


def test_one_answer_in_four_is_held_out():
    kept = with_model_answers(task(), answers(200), retain_evaluation=300)
    assert (len(kept.retain), [len(each.items) for each in kept.evaluation]) == (150, [1, 50])
    trained, scored = ({item.id for item in items} for items in (kept.retain, kept.evaluation[1].items))
    assert trained.isdisjoint(scored)
    assert {id.split("/")[1] for id in scored} == {each.topic for each in load_generic_questions()}
    assert kept.retain[0].answer == f"Answer to {kept.retain[0].id}."
    assert kept.evaluation[1].name == "retain"


def test_known_facts_are_trained_on_and_others_scored():
    known = [each.item for each in load_known_facts().questions[:90]]
    facts = {each.id: item.answer for item in known for each in (item, in_other_words(item))}
    kept = with_model_answers(task(), answers(40) | facts, retain_evaluation=300)
    assert [each.name for each in kept.evaluation] == ["forget", "retain", "known_facts"]
    scored = {fact_id(item.id) for item in kept.evaluation[2].items}
    trained = {fact_id(item.id) for item in kept.retain if item.id in facts}
    assert (len(scored) > 15, scored | trained) == (True, {item.id for item in known})
    assert scored.isdisjoint(trained)
    assert "90 known facts" in kept.sources
    alone = with_model_answers(task(), facts, retain_evaluation=5)
    assert [(each.name, len(each.items)) for each in alone.evaluation] == [("forget", 1), ("known_facts", 10)]


def test_a_blank_answer_is_left_out_and_moves_no_other():
    whole = answers(40)
    first = next(iter(whole))
    before = with_model_answers(task(), whole, retain_evaluation=300)
    after = with_model_answers(task(), whole | {first: " \n"}, retain_evaluation=300)
    assert [item.id for item in before.retain if item.id != first] == [item.id for item in after.retain]
    assert before.evaluation[1:] == after.evaluation[1:]
    assert before.sources != after.sources


def test_a_model_must_answer_enough_questions():
    with pytest.raises(EffaceError, match=r"data\.retain=model-answers: the model answered 0 generic questions"):
        with_model_answers(task(), dict.fromkeys(answers(40), ""), retain_evaluation=300)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two. Thr", "One. Two."),
        ("It costs 3.50 eur", "It costs 3.50 eur"),
        ('He said "No." Then he', 'He said "No."'),
        ("A list:\n- one\n- tw", "A list:\n- one\n"),
        ("Whole.", "Whole."),
        ("", ""),
    ],
)
def test_an_incomplete_last_sentence_is_removed(text, expected):
    assert truncate_to_sentence(text) == expected
