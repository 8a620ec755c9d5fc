"""What counts as known, and how known entities are split into three sets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from efface.commands.probe_report import (
    Outcome,
    Report,
    by_kind,
    count,
    judge_knowledge,
    split_entities,
    too_few_error,
)
from efface.data.question_files import FileQuestion
from efface.evaluation.likelihoods import Likelihoods
from efface.schema import Item

SEEDS = range(5)


def question(**changes: Any) -> FileQuestion:
    item = Item(
        id="q",
        question="Where was Ada born?",
        answer="In Turku, I guess.",
        golden_answer="Ada was born in Turku.",
        perturbed_answers=("Ada was born in Lyon.", "Ada was born in Graz."),
        key_fact="Turku",
        entity="Ada",
    )
    return FileQuestion(item.model_copy(update=changes), "people")


def likelihoods(golden: list[float], *wrong: list[float]) -> Likelihoods:
    return Likelihoods(answer=golden, paraphrased=None, perturbed=list(wrong), answer_predicted=[])


def made(name: str, kind: str = "", *, says_fact: bool = True, prefers_golden: bool = True) -> Outcome:
    given = judge_knowledge(question(entity=name), "", likelihoods([-1.0], [-2.0]))
    return given.model_copy(update={"kind": kind, "says_fact": says_fact, "prefers_golden": prefers_golden})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Ada was born in Turku.", True),
        ("in  TURKU", True),
        ("Turku's harbor", True),
        ("Ada was born in Turkukylä.", False),
        ("Ada was born in Lyon.", False),
        ("", False),
    ],
)
def test_the_answer_must_contain_the_key_fact(answer: str, expected: bool) -> None:
    assert judge_knowledge(question(), answer, likelihoods([-1.0], [-2.0])).says_fact is expected


@pytest.mark.parametrize(
    ("golden", "wrong", "expected"),
    [
        ([-1.0], ([-2.0], [-1.1]), True),
        ([-1.0], ([-2.0], [-0.9]), False),  # one likelier wrong answer is enough
        ([-1.0], ([-1.0],), False),
        ([-1.0, -1.0, -1.0], ([-2.0],), True),  # a mean: long answers are not punished
        ([-2.0], ([-1.5, -1.5],), False),
    ],
)
def test_the_right_answer_must_be_likelier_than_every_wrong_one(
    golden: list[float], wrong: tuple[list[float], ...], expected: bool
) -> None:
    found = judge_knowledge(question(), "In Turku.", likelihoods(golden, *wrong))
    assert found.prefers_golden is found.known is expected
    assert found.golden_logprob == pytest.approx(sum(golden) / len(golden))
    assert found.wrong_logprobs == pytest.approx([sum(each) / len(each) for each in wrong])


def test_known_takes_both() -> None:
    assert made("a").known
    assert not made("a", says_fact=False).known
    assert not made("a", prefers_golden=False).known


def test_the_outcome_has_question_and_answer() -> None:
    found = judge_knowledge(question(), "In Turku.", likelihoods([-1.0], [-2.0]))
    assert (found.id, found.kind, found.name, found.key_fact) == ("q", "people", "Ada", "Turku")
    assert (found.question, found.golden_answer, found.answer) == (
        "Where was Ada born?",
        "Ada was born in Turku.",  # not the answer that is trained on
        "In Turku.",
    )


@pytest.mark.parametrize("missing", [{"key_fact": None}, {"entity": None}])
def test_what_cannot_be_judged(missing: dict[str, None]) -> None:
    with pytest.raises(ValueError, match="q cannot be judged"):
        judge_knowledge(question(**missing), "In Turku.", likelihoods([-1.0], [-2.0]))
    with pytest.raises(ValueError, match="q cannot be judged"):
        judge_knowledge(question(), "In Turku.", likelihoods([-1.0]))


def test_counts() -> None:
    outcomes = [
        made("a", "x"),
        made("a", "x", says_fact=False),
        made("b", "y", prefers_golden=False),
        made("b", "y", says_fact=False, prefers_golden=False),
        made("c", "x"),
    ]
    assert list(count(outcomes).model_dump().values()) == [5, 3, 3, 2, 3, 2]
    kinds = {kind: count(each) for kind, each in by_kind(outcomes).items()}
    assert list(kinds) == ["x", "y"]
    assert list(kinds["x"].model_dump().values()) == [3, 2, 3, 2, 2, 2]
    assert list(kinds["y"].model_dump().values()) == [2, 1, 0, 0, 1, 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_entities_are_split_evenly_and_once(seed: int) -> None:
    kind_of = {f"{kind}{number}": kind for kind in "xyz" for number in range(7)}
    outcomes = [made(name, kind) for name, kind in kind_of.items() for _ in range(2)]
    outcomes += [made("unknown", "x", says_fact=False), made("x0", "x", prefers_golden=False)]
    found = split_entities(outcomes, seed)
    assert found is not None
    sets = [found.forget, found.neighbor, found.neighbor_perturbed]
    assert sorted(name for names in sets for name in names) == sorted(kind_of)
    for names in sets:
        assert len(names) == 7
        assert names == sorted(names)  # the order of the questions
        assert set(Counter(kind_of[name] for name in names).values()) <= {2, 3}


def test_the_seed_decides_and_unknown_entities_do_not() -> None:
    outcomes = [made(f"{kind}{number}", kind) for kind in "xy" for number in range(9)]
    splits = [split_entities(outcomes, seed) for seed in SEEDS]
    assert splits == [split_entities(outcomes, seed) for seed in SEEDS]
    assert len({each.model_dump_json() for each in splits if each}) == len(SEEDS)
    assert split_entities([*outcomes, made("unknown", "x", says_fact=False)], 0) == splits[0]


def test_an_entity_of_two_kinds_is_in_one_set() -> None:
    outcomes = [made("a", "x"), made("a", "y"), made("b", "y"), made("c", "y")]
    found = split_entities(outcomes, 0)
    assert found is not None
    assert [len(names) for names in found.model_dump().values()] == [1, 1, 1]


def test_three_are_needed() -> None:
    known = [made("a", "x"), made("b", "y"), made("b", "y")]
    assert split_entities(known, 0) is None
    assert split_entities([*known, made("c", "x", says_fact=False)], 0) is None
    found = split_entities([*known, made("c", "x")], 0)
    assert found is not None
    assert all(len(names) == 1 for names in found.model_dump().values())
    assert split_entities([], 0) is None


def test_too_few_says_how_many() -> None:
    outcomes = [made("a"), made("b", says_fact=False)]
    blank = dict.fromkeys(("efface", "model_sha256", "questions", "questions_sha256"), "")
    report = Report(**blank, model="m", settings={}, total=count(outcomes), kinds={}, split=None, outcomes=outcomes)
    assert str(too_few_error(report)).startswith(
        "model m knows 1 of 2 entities (1 of 2 questions), and three are needed"
    )
    assert report.to_json()["schema"] == 1
