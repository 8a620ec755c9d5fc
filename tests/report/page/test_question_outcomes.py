"""Which questions leak, are broken, forgotten or retained."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.report.page.answered import MetricValues
from efface.report.page.load_run import load_report_run
from efface.report.page.question_outcomes import (
    QuestionOutcome,
    Verdict,
    is_correct,
    question_outcomes,
)
from support.reports import write_evaluation, write_example_run, write_queue

CORRECT, WRONG = (0.9, 0.9, 0.9, 0.9, 0.9, 1.0), (0.1, 0.1, 0.1, 0.9, 0.1, 0.0)


def outcome(set_name: str, before: MetricValues | None, after: MetricValues | None) -> QuestionOutcome:
    return QuestionOutcome(set_name, "id", "question", "answer", before and "text", after and "text", before, after)


@pytest.mark.parametrize(
    ("set_name", "before", "after", "verdict"),
    [
        ("forget", CORRECT, CORRECT, "leaks"),
        ("forget", WRONG, CORRECT, "leaks"),
        ("forgotten-2", CORRECT, CORRECT, "leaks"),
        ("forget", CORRECT, WRONG, "forgotten"),
        ("forget", WRONG, WRONG, "unknown"),
        ("retain", CORRECT, WRONG, "broken"),
        ("world_facts", CORRECT, CORRECT, "retained"),
        ("retain", WRONG, CORRECT, "retained"),
        ("retain", WRONG, WRONG, "unknown"),
        ("retain", CORRECT, None, None),
        ("forget", None, CORRECT, "leaks"),
    ],
)
def test_verdicts(
    set_name: str, before: MetricValues | None, after: MetricValues | None, verdict: Verdict | None
) -> None:
    assert outcome(set_name, before, after).verdict == verdict


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.1, 0.1, 0.1, 0.1, 0.1, 1.0), True),
        ((0.96, 1.0, 1.0, 1.0, 1.0, 0.0), False),  # one wrong word
        ((0.5, None, None, None, None, None), True),
        ((0.49, 1.0, 1.0, 1.0, 1.0, None), False),
        ((None,) * 6, False),
    ],
)
def test_the_judge_decides_and_without_one_rouge_does(scores: MetricValues, expected: bool) -> None:
    assert is_correct(scores) is expected


def test_leaks_and_broken_questions_have_the_highest_priority() -> None:
    retained, forgotten = outcome("retain", CORRECT, CORRECT), outcome("forget", CORRECT, WRONG)
    broken, leaks = outcome("retain", CORRECT, WRONG), outcome("forget", CORRECT, CORRECT)
    assert leaks.priority > broken.priority > forgotten.priority > retained.priority


def test_the_questions_of_a_run(tmp_path: Path) -> None:
    outcomes = question_outcomes(load_report_run(write_example_run(tmp_path)))
    assert len(outcomes) == 30
    verdicts = [each.verdict for each in outcomes]
    assert {each: verdicts.count(each) for each in ("leaks", "forgotten", "broken", "retained")} == {
        "leaks": 2,
        "forgotten": 8,
        "broken": 3,
        "retained": 17,
    }
    assert (outcomes[0].set, outcomes[0].id) == ("retain", "retain/001")


def test_a_queue_compares_the_last_request_with_the_first_model(tmp_path: Path) -> None:
    outcomes = question_outcomes(load_report_run(write_queue(tmp_path)))
    assert [(each.set, each.verdict) for each in outcomes if each.in_forget_set] == [
        *[("forget", "forgotten")] * 4,
        *[("forgotten-1", "leaks")] * 4,
    ]


def test_an_evaluation_has_nothing_before(tmp_path: Path) -> None:
    outcomes = question_outcomes(load_report_run(write_evaluation(tmp_path)))
    assert {each.output_before for each in outcomes} == {None}
    assert {each.scores_before for each in outcomes} == {None}
