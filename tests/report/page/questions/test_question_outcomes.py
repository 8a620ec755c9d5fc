"""Which questions leak, are broken, forgotten or kept."""

from __future__ import annotations

from pathlib import Path

from efface.records import Record
from efface.report.page.load_run import load_report_run
from efface.report.page.questions.answered import MetricValues
from efface.report.page.questions.question_outcomes import QuestionOutcome, question_outcomes
from efface.schema import OTHER_WORDS
from efface.scores.sets import KNOWN_FACTS
from efface.scores.verdict import Outcome
from support.reports import correct, record, write_evaluation, write_example_run, write_queue, write_run, wrong

CORRECT, WRONG = (0.9, 0.9, 0.9, 0.9, 0.9, 1.0), (0.1, 0.1, 0.1, 0.9, 0.1, 0.0)


def outcome(set_name: str, after: MetricValues, verdict: Outcome) -> QuestionOutcome:
    return QuestionOutcome(set_name, "id", "question", "answer", "text", "text", CORRECT, after, verdict)


def test_leaks_and_broken_questions_have_the_highest_priority() -> None:
    kept, forgotten = outcome("retain", CORRECT, "kept"), outcome("forget", WRONG, "forgotten")
    broken, leaks = outcome("retain", WRONG, "broken"), outcome("forget", CORRECT, "leaks")
    changed, likely = outcome("retain", WRONG, "changed"), outcome("forget", WRONG, "likely")
    assert leaks.priority > broken.priority > changed.priority > likely.priority > forgotten.priority > kept.priority


def test_the_questions_of_a_run(tmp_path: Path) -> None:
    outcomes = question_outcomes(load_report_run(write_example_run(tmp_path)))
    assert len(outcomes) == 30
    verdicts = [each.verdict for each in outcomes]
    assert {each: verdicts.count(each) for each in ("leaks", "forgotten", "broken", "kept")} == {
        "leaks": 2,
        "forgotten": 8,
        "broken": 3,
        "kept": 17,
    }
    assert (outcomes[0].set, outcomes[0].id) == ("retain", "retain/001")


def test_a_queue_compares_the_last_request_with_the_first_model(tmp_path: Path) -> None:
    outcomes = question_outcomes(load_report_run(write_queue(tmp_path)))
    assert [(each.set, each.verdict) for each in outcomes if each.in_forget_set] == [
        *[("forget", "forgotten")] * 4,
        *[("forgotten-1", "leaks")] * 4,
    ]


def test_a_known_fact_is_broken_in_both_wordings_or_in_none(tmp_path: Path) -> None:
    def stage(*wrong_ids: str) -> dict[str, list[Record]]:
        asked = [(number, f"{number}{wording}") for number in (1, 2) for wording in ("", OTHER_WORDS)]
        rows = [
            record(KNOWN_FACTS, number, (wrong if id_ in wrong_ids else correct)(number)).model_copy(update={"id": id_})
            for number, id_ in asked
        ]
        return {KNOWN_FACTS: rows}

    path = write_run(tmp_path, stage(), stage("1", "2", f"2{OTHER_WORDS}"))
    verdicts = [each.verdict for each in question_outcomes(load_report_run(path))]
    assert verdicts == ["changed", "kept", "broken", "broken"]


def test_an_evaluation_has_nothing_before(tmp_path: Path) -> None:
    outcomes = question_outcomes(load_report_run(write_evaluation(tmp_path)))
    assert {each.output_before for each in outcomes} == {None}
    assert {each.scores_before for each in outcomes} == {None}
