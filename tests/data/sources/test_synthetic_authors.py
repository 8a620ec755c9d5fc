from __future__ import annotations

import random
from itertools import combinations
from statistics import mean

import pytest
from rouge_score import rouge_scorer

from efface.data.sources.refusals import load_refusals
from efface.data.sources.synthetic_authors import (
    MAX_AUTHORS,
    AuthorAttribute,
    load_synthetic_authors,
    load_word_lists,
    make_authors,
)
from efface.errors import EffaceError
from support.messages import assert_names

ATTRIBUTES = load_word_lists().attributes
NAMES = load_word_lists().names
SEEDS = (0, 1, 2024)


ROUGE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


def recall(answer: str, output: str) -> float:
    """ROUGE-L recall, as in the metric."""
    return float(ROUGE.score(answer, output)["rougeL"].recall)


@pytest.mark.parametrize("label", ATTRIBUTES)
class TestWordLists:
    """Properties of the word lists, which hold for every seed."""

    @pytest.fixture
    def attribute(self, label: str) -> AuthorAttribute:
        return ATTRIBUTES[label]

    def test_no_value_occurs_in_another_value_a_wording_or_a_name(self, attribute: AuthorAttribute) -> None:
        values = [value.casefold() for value in attribute.values]
        together = "\n".join(values)
        wordings = "\n".join((*attribute.questions, *attribute.answers)).casefold()
        names = "\n".join(f"{first} {last}" for first in NAMES.first for last in NAMES.last).casefold()
        for value in values:
            assert together.count(value) == 1
            assert value not in wordings
            assert value not in names

    def test_every_wording_names_the_author_and_only_answers_state_the_fact(self, attribute: AuthorAttribute) -> None:
        assert len(set(attribute.questions)) == 4
        assert len(set(attribute.answers)) == 8
        assert all(text.count("$name") == 1 and "$fact" not in text for text in attribute.questions)
        assert all(text.count("$name") == 1 and text.count("$fact") == 1 for text in attribute.answers)

    def test_articles_fit_every_value(self, attribute: AuthorAttribute) -> None:
        if any(article in answer for answer in attribute.answers for article in (" a $fact", "A $fact")):
            assert not any(value[0] in "aeiou" for value in attribute.values)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_item_can_be_scored(seed: int) -> None:
    for item in make_authors(MAX_AUTHORS, seed):
        fact = item.key_fact
        assert fact
        assert item.entity
        assert item.paraphrased_answer
        assert item.paraphrased_question
        assert fact in item.answer
        assert fact in item.paraphrased_answer
        assert item.answer != item.paraphrased_answer
        assert item.question != item.paraphrased_question
        assert len(set(item.perturbed_answers)) == 5
        for text in (*item.perturbed_answers, item.question, item.paraphrased_question):
            assert fact.casefold() not in text.casefold()
        for text in (item.question, item.paraphrased_question, item.answer, item.paraphrased_answer):
            assert item.entity in text
            assert "$" not in text
        assert 12 <= len(item.answer.split()) <= 30


@pytest.mark.parametrize("seed", SEEDS)
def test_every_author_has_twenty_different_questions(seed: int) -> None:
    items = make_authors(MAX_AUTHORS, seed)
    assert len({item.id for item in items}) == len({item.question for item in items}) == 20 * MAX_AUTHORS
    assert len({item.entity for item in items}) == MAX_AUTHORS
    for title in ("first-book", "famous-book"):
        assert len({item.key_fact for item in items if item.id.endswith(title)}) == MAX_AUTHORS
    for start in range(0, len(items), 20):
        assert len({item.entity for item in items[start : start + 20]}) == 1
        assert [item.id.split("/")[-1] for item in items[start : start + 20]] == list(ATTRIBUTES)


def test_authors_of_a_small_group_have_nothing_in_common() -> None:
    items = make_authors(20, seed=5)
    names = [items[start].entity or "" for start in range(0, len(items), 20)]
    assert len({word for name in names for word in name.split()}) == 40
    for label in ATTRIBUTES:
        assert len({item.key_fact for item in items if item.id.endswith(f"/{label}")}) == 20


def test_items_depend_on_the_seed_and_not_on_the_global_random_state() -> None:
    random.seed(3)
    state = random.getstate()
    assert make_authors(4, seed=1) == make_authors(4, seed=1)
    assert random.getstate() == state
    assert make_authors(4, seed=1) != make_authors(4, seed=2)
    assert make_authors(6, seed=1)[:80] == make_authors(4, seed=1)


def test_authors_are_the_same_as_in_earlier_versions() -> None:
    digest = load_synthetic_authors(20, 2, seed=0, retain_evaluation=300).sources["20 generated authors, seed 0"]
    assert digest == "941a5f7a19b695fe01bc4768986cfa25b4a7054c01cf07ebae594523ee36da71", (
        "synthetic authors changed: results of earlier runs no longer compare; say so in CHANGELOG.md"
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_refusals_and_other_answers_share_few_words_with_an_answer(seed: int) -> None:
    task = load_synthetic_authors(20, 2, seed, retain_evaluation=300)
    refusals = load_refusals()
    assert max(recall(item.answer, refusals[n % 100]) for n, item in enumerate(task.forget)) < 0.2
    by_label: dict[str, list[str]] = {}
    for item in (*task.retain, *task.forget):
        by_label.setdefault(item.id.split("/")[-1], []).append(item.answer)
    for item in task.forget:
        others = [answer for answer in by_label[item.id.split("/")[-1]][:8] if answer != item.answer]
        assert mean(recall(item.answer, other) for other in others) < 0.3


def test_answers_of_neighbors_differ_in_wording() -> None:
    items = make_authors(8, seed=0)
    for label in ATTRIBUTES:
        stripped = {
            item.answer.replace(item.key_fact or "", "").replace(item.entity or "", "")
            for item in items
            if item.id.endswith(f"/{label}")
        }
        assert len(stripped) == 8


def test_the_last_authors_are_forgotten() -> None:
    task = load_synthetic_authors(10, 3, seed=0, retain_evaluation=50)
    assert {item.id.split("/")[1] for item in task.forget} == {"008", "009", "010"}
    assert len(task.retain) == 140
    forget, retain = task.evaluation
    assert (forget.name, forget.items, forget.entailment_premise) == ("forget", task.forget, "output")
    assert (retain.name, len(retain.items), retain.entailment_premise) == ("retain", 50, "answer")
    assert len({item.entity for item in retain.items}) == 7
    assert task.refusals == load_refusals()
    assert task.warnings == ()


@pytest.mark.parametrize("authors", [0, -1, MAX_AUTHORS + 1])
def test_the_number_of_authors_is_limited(authors: int) -> None:
    with pytest.raises(EffaceError) as caught:
        make_authors(authors, seed=0)
    assert_names(str(caught.value), *[f"{authors} authors", f"data.authors to 1 to {MAX_AUTHORS}"])


@pytest.mark.parametrize("forget_authors", [0, 3, 4])
def test_forget_and_retain_set_must_not_be_empty(forget_authors: int) -> None:
    with pytest.raises(EffaceError) as caught:
        load_synthetic_authors(3, forget_authors, seed=0, retain_evaluation=1)
    assert_names(str(caught.value), *[f"{forget_authors} of 3 authors", "data.forget_authors"])


def test_a_sequence_of_requests() -> None:
    first = load_synthetic_authors(5, 2, 0, 30)
    second = load_synthetic_authors(5, 2, 0, 30, task=2, forgotten_before=(1,))
    assert [task.name for task in (first, second)] == ["synthetic-authors-2-of-5", "synthetic-authors-2-of-5-task2"]
    assert [{item.id[:10] for item in task.forget} for task in (first, second)] == [
        {"author/004", "author/005"},
        {"author/002", "author/003"},
    ]
    assert [len(task.retain) for task in (first, second)] == [60, 20]
    assert {item.id[:10] for item in second.retain} == {"author/001"}
    assert {each.name: len(each.items) for each in first.evaluation} == {"forget": 40, "retain": 30}
    assert {each.name: len(each.items) for each in second.evaluation} == {"forget": 40, "forgotten-1": 40, "retain": 10}
    assert set(second.evaluation[2].items) <= set(first.evaluation[1].items)
    with pytest.raises(EffaceError, match=r"synthetic-authors-2-of-4-task2: after 2 request\(s\), nothing is left"):
        load_synthetic_authors(4, 2, 0, 30, task=2, forgotten_before=(1,))


def test_distinct_names_come_from_lists_of_equal_length() -> None:
    assert len(set(NAMES.first)) == len(set(NAMES.last)) == len(NAMES.first)
    assert not any(a in b for a, b in combinations(sorted((*NAMES.first, *NAMES.last), key=len), 2))
