from __future__ import annotations

from typing import get_args

import pytest

from efface.auditing.attack import Level
from efface.auditing.attacks.relearn_rows import ARMS, FOLDS, Arm, folds, training_of
from efface.auditing.fact import Fact
from support.audited import audit_context, fact, facts


@pytest.mark.parametrize("arm", ARMS)
def test_nothing_that_is_trained_on_is_asked_for(arm: Arm) -> None:
    audited = facts(6)
    training = training_of(arm, 0, audited, audit_context(audited))
    assert training.rows
    assert training.asked
    trained = {item.question for item in training.rows}
    assert not trained & {each.question for each in training.asked}


def test_every_fact_is_asked_for_in_one_fold() -> None:
    audited = facts(6)
    levels: tuple[Level, ...] = get_args(Level)
    for level in levels:
        around = audit_context(audited, level)
        trainings = [training_of("some", fold, audited, around) for fold in range(FOLDS[level])]
        assert sorted(each.id for training in trainings for each in training.asked) == [each.id for each in audited]


def test_subjects_are_not_divided() -> None:
    audited = [fact(number, entity=f"subject {number // 2}") for number in range(12)]
    parts = folds(audited, 5)
    subjects = [{each.subject for each in part} for part in parts]
    assert sum(map(len, subjects)) == 6
    few = [fact(number, entity="one") for number in range(6)]
    assert all(folds(few, 5))


def test_the_split_does_not_depend_on_the_order() -> None:
    audited = list(facts(6))
    assert [{each.id for each in part} for part in folds(audited, 5)] == [
        {each.id for each in part} for part in folds(audited[::-1], 5)
    ]


def test_made_up_rows_have_the_form_and_no_fact() -> None:
    audited = facts(6)
    rows = training_of("form", 0, audited, audit_context(audited)).rows
    text = " ".join(item.question + item.answer for item in rows)
    assert all(item.question.startswith("Where is tower ") for item in rows)
    assert not any(each.key_fact in text for each in audited if each.key_fact)
    assert not any(f"tower {each.subject}?" in text for each in audited)


def test_years_become_other_years() -> None:
    one = Fact(fact(answer="Tower Ba is from 1952.", key_fact="1952").item, "year")
    [row] = training_of("form", 0, [one], audit_context((one,))).rows
    year = row.answer.split()[-1].rstrip(".")
    assert year != "1952"
    assert year.isdigit()
    assert year.startswith("1")


def test_without_subjects_the_rows_are_of_synthetic_authors() -> None:
    audited = tuple(fact(number, entity=None) for number in range(6))
    rows = training_of("form", 0, audited, audit_context(audited)).rows
    assert len(rows) == 6
    assert not any("tower" in item.question for item in rows)
