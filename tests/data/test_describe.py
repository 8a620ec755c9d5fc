from __future__ import annotations

import time

import pytest

from efface.data.describe import (
    RUN_OF_WORDS,
    character_lengths,
    describe,
    find_overlap,
    how_judged,
    missing_metrics,
    summarize_lengths,
)
from efface.data.sources.synthetic_authors import load_synthetic_authors
from efface.schema import EvaluationSet, Item, Task, Turn
from support.messages import assert_names

EIGHT = "one two three four five six seven eight"


def item(id: str, question: str = "Where?", answer: str = "Here.", **more: object) -> Item:
    return Item(id=id, question=question, answer=answer, **more)


def evaluated(*items: Item, name: str = "forget") -> EvaluationSet:
    return EvaluationSet(name=name, items=items, entailment_premise="output")


def test_lengths_are_values_that_occur() -> None:
    found = summarize_lengths(range(1, 101), "tokens", limit=97)
    assert (found.minimum, found.median, found.p95, found.maximum) == (1, 50, 95, 100)
    assert (found.limit, found.beyond_limit) == (97, 3)
    alone = summarize_lengths([7], "characters")
    assert (alone.minimum, alone.median, alone.p95, alone.maximum, alone.beyond_limit) == (7, 7, 7, 7, 0)


def test_character_lengths_include_the_history() -> None:
    conversation = item(
        "a", "1234", "56", history=(Turn(role="user", content="abc"), Turn(role="assistant", content="d"))
    )
    assert character_lengths([conversation]).maximum == 10


def test_items_are_counted_by_type() -> None:
    conversation = item("b", history=(Turn(role="system", content="Be brief."),))
    passage = item("c", question="", answer="Long ago.", passage=True)
    task = Task(
        name="t",
        forget=(item("a"), conversation, passage, item("d", " WHERE? ", "here. ")),
        retain=(),
        evaluation=(evaluated(item("a")),),
        refusals=("No.",),
    )
    found = describe(task, embedder="none", judge="none")
    assert found.forget.count == 4
    assert found.forget.item_types == {"questions": 2, "conversations": 1, "passages": 1}
    assert found.forget.repeated == 1  # ignores case and spaces; with another history, a question is another
    assert found.retain is None
    assert found.evaluation["forget"].count == 1
    assert [sample.id for sample in found.samples] == ["a", "b"]


def test_conversations_and_their_answers_are_counted() -> None:
    user, answer = Turn(role="user", content="Where?"), Turn(role="assistant", content="Here.")
    conversation = [item("forget/0001/1"), item("forget/0001/2", "Sure?", "Yes.", history=(user, answer))]
    with_system = item("forget/0002", history=(Turn(role="system", content="Be brief."),))
    single = item("forget/0003", "What?")
    task = Task(
        name="t",
        forget=(*conversation, with_system, single),
        retain=(),
        evaluation=(evaluated(*conversation),),
        refusals=("No.",),
    )
    found = describe(task, embedder="none", judge="none", samples=2)
    assert (found.forget.item_types, found.forget.conversations) == ({"conversations": 3, "questions": 1}, 2)
    assert (found.evaluation["forget"].item_types, found.evaluation["forget"].conversations) == (
        {"conversations": 2},
        1,
    )
    assert [sample.history for sample in found.samples] == [(), (user, answer)]


def test_items_with_a_history_are_one_conversation_each() -> None:
    before = (Turn(role="user", content="Hi."), Turn(role="assistant", content="Hello."))
    items = [item("forget/0001", history=before), item("forget/0002", history=before), item("forget/0003")]
    task = Task(name="t", forget=tuple(items), retain=(), evaluation=(evaluated(*items),), refusals=("No.",))
    found = describe(task, embedder="none", judge="none").forget
    assert (found.item_types, found.conversations) == ({"conversations": 2, "questions": 1}, 2)


def test_wrong_answers_are_counted() -> None:
    some = [item("a", perturbed_answers=("x", "y", "z")), item("b", "Who?", perturbed_answers=("x",))]
    task = Task(
        name="t", forget=tuple(some), retain=(item("c", "How?"),), evaluation=(evaluated(*some),), refusals=("No.",)
    )
    found = describe(task, embedder="none", judge="none")
    assert found.forget.wrong_answers is not None
    assert (found.forget.wrong_answers.minimum, found.forget.wrong_answers.maximum) == (1, 3)
    assert found.retain is not None
    assert found.retain.wrong_answers is None


def test_overlap_of_questions_and_of_wording() -> None:
    forget = [
        item("f1", "Who?", f"He said {EIGHT}."),
        item("f2", "What?", "one two three four five six seven"),  # one word short
        item("f3", "When?", EIGHT.upper().replace(" ", ", ")),
    ]
    retain = [item("r1", "who? ", "Ann."), item("r2", "How?", f"{EIGHT} nine"), item("r3", "Why?", EIGHT)]
    found = find_overlap(forget, retain)
    assert (found.same_question, found.shared_words) == (1, 2)
    assert found.first_shared is not None
    assert (found.first_shared.forget, found.first_shared.retain) == ("f1", "r2")
    assert found.first_shared.words == EIGHT
    assert len(EIGHT.split()) == RUN_OF_WORDS


def test_overlap_does_not_compare_all_pairs() -> None:
    def many(count: int) -> list[Item]:
        return [item(f"{n}", f"Question {n}?", " ".join(f"w{n}-{word}" for word in range(20))) for n in range(count)]

    start = time.process_time()
    find_overlap(many(3000), many(3000))
    assert time.process_time() - start < 20  # nine million pairs would take minutes


@pytest.mark.parametrize(
    ("embedder", "judge", "missing"),
    [
        ("default", "default", {"truth_ratio"}),
        ("none", "none", {"truth_ratio", "cosine_similarity", "entailment"}),
        ("offline", "key-facts", {"truth_ratio", "entailment"}),
    ],
)
def test_missing_metrics(embedder: str, judge: str, missing: set[str]) -> None:
    complete = item("a", answer="Here.", perturbed_answers=("There.",), key_fact="Here")
    sets = (evaluated(complete, item("b")), evaluated(complete, name="retain"))
    found = missing_metrics(sets, embedder=embedder, judge=judge)
    assert set(found) == missing
    assert found["truth_ratio"] == "no wrong answers (perturbed_answers) in forget (1 of 2)"
    if judge == "key-facts":
        assert found["entailment"] == "no key fact (key_fact) for the judge key-facts in forget (1 of 2)"
    assert missing_metrics((evaluated(complete),), embedder="default", judge="key-facts") == {}


def test_rouge_is_missing_for_an_answer_in_another_script() -> None:
    sets = (evaluated(item("a", answer="Ада родилась в Турку."), item("b", answer="В 1903 году.")),)
    found = missing_metrics(sets, embedder="offline", judge="default")
    assert_names(found["rouge"], "a-z", "forget (1 of 2)")
    assert "ROUGE" in found["entailment"], "the paper's score needs it"
    assert "rouge" not in missing_metrics((evaluated(item("a", answer="Ådal")),), embedder="offline", judge="default")


@pytest.mark.parametrize(
    ("judge", "named", "complete"),
    [
        ("none", ("words alone", "key_fact", "evaluate.judge=key-facts"), "words alone"),
        ("key-facts", ("words alone", "forget (1 of 2)", "key_fact"), "by the key facts"),
        ("default", ("if it cannot be loaded", "words alone", "forget (1 of 2)", "key_fact"), "by the judge"),
        ("some/nli", ("by the judge", "some/nli"), "by the judge"),
    ],
)
def test_how_answers_are_judged_is_said(judge: str, named: tuple[str, ...], complete: str) -> None:
    known = item("a", key_fact="Here")
    facts = EvaluationSet(name="known_facts", items=(item("c"),), entailment_premise="output", key_facts_only=True)
    assert_names(how_judged((evaluated(known, item("b")), facts), judge=judge), *named)
    alone = how_judged((evaluated(known), facts), judge=judge)
    assert alone.startswith(complete) or (judge == "none" and complete in alone)
    assert "add key_fact" not in alone


def test_synthetic_authors_have_every_metric() -> None:
    found = describe(load_synthetic_authors(4, 1, 0, 30), embedder="offline", judge="key-facts")
    assert (found.forget.count, found.retain and found.retain.count, found.missing) == (20, 60, {})
    assert {name: each.count for name, each in found.evaluation.items()} == {"forget": 20, "retain": 30}
    assert found.overlap.same_question == 0
