"""What became of each question, and which one matters most."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.report.page.load_run import load_report_run
from efface.report.page.explorer_data import as_data, longest
from efface.report.page.question_outcomes import QuestionRow, Verdict, question_rows, right
from support.reports import usual_run, write_evaluation, write_queue

RIGHT, WRONG = (0.9, 0.9, 0.9, 0.9, 0.9, 1.0), (0.1, 0.1, 0.1, 0.9, 0.1, 0.0)


def row(
    set_name: str, before: tuple[float, ...] | None, after: tuple[float, ...] | None, text: str = "said"
) -> QuestionRow:
    return QuestionRow(set_name, "id", "asked", "right", before and text, after and text, before, after)


@pytest.mark.parametrize(
    ("set_name", "before", "after", "verdict"),
    [
        ("forget", RIGHT, RIGHT, "leaks"),
        ("forget", WRONG, RIGHT, "leaks"),
        ("forgotten-2", RIGHT, RIGHT, "leaks"),
        ("forget", RIGHT, WRONG, "forgotten"),
        ("forget", WRONG, WRONG, "unknown"),
        ("retain", RIGHT, WRONG, "broken"),
        ("world_facts", RIGHT, RIGHT, "kept"),
        ("retain", WRONG, RIGHT, "kept"),
        ("retain", WRONG, WRONG, "unknown"),
        ("retain", RIGHT, None, None),
        ("forget", None, RIGHT, "leaks"),
    ],
)
def test_verdicts(
    set_name: str, before: tuple[float, ...] | None, after: tuple[float, ...] | None, verdict: Verdict | None
) -> None:
    assert row(set_name, before, after).verdict == verdict


def test_the_judge_says_what_is_right_and_without_one_the_wording_does() -> None:
    assert right((0.1, 0.1, 0.1, 0.1, 0.1, 1.0))
    assert not right((0.96, 1.0, 1.0, 1.0, 1.0, 0.0)), "one wrong word"
    assert right((0.5, None, None, None, None, None))
    assert not right((0.49, 1.0, 1.0, 1.0, 1.0, None))
    assert not right((None,) * 6)


def test_what_leaks_or_broke_comes_first() -> None:
    found = [
        row("retain", RIGHT, RIGHT),
        row("forget", RIGHT, WRONG),
        row("retain", RIGHT, WRONG),
        row("forget", RIGHT, RIGHT),
    ]
    assert [each[8] for each in as_data(found, None)] == [3, 2, 1, 0]


def test_the_questions_of_a_run(tmp_path: Path) -> None:
    found = question_rows(load_report_run(usual_run(tmp_path)))
    assert len(found) == 30
    verdicts = [each.verdict for each in found]
    assert {each: verdicts.count(each) for each in ("leaks", "forgotten", "broken", "kept")} == {
        "leaks": 2,
        "forgotten": 8,
        "broken": 3,
        "kept": 17,
    }
    assert (found[0].set, found[0].id) == ("retain", "retain/001")


def test_a_queue_shows_its_last_request_and_the_first_model(tmp_path: Path) -> None:
    found = question_rows(load_report_run(write_queue(tmp_path)))
    assert [(each.set, each.verdict) for each in found if each.to_forget] == [
        *[("forget", "forgotten")] * 4,
        *[("forgotten-1", "leaks")] * 4,
    ]


def test_a_single_model_has_nothing_before(tmp_path: Path) -> None:
    found = question_rows(load_report_run(write_evaluation(tmp_path)))
    assert {each.before for each in found} == {None}
    assert as_data(found[:1], None)[0][5] is None
    assert as_data([row("retain", None, RIGHT, " said ")], None)[0][4] == [(1, "said")]
    assert as_data([row("retain", WRONG, None, " ")], None)[0][4] == []


def test_texts_are_cut_only_where_they_are_too_many() -> None:
    short = [row("retain", RIGHT, RIGHT, "word " * 200) for _ in range(1000)]
    assert longest([short]) is None
    long = [row("retain", RIGHT, RIGHT, "x" * 100_000) for _ in range(100)]
    assert longest([long]) == 5_000
    data = as_data(long, 5_000)
    assert sum(len(words) for each in data for _, words in each[4]) < 600_000  # type: ignore[attr-defined]
    assert "95,000 more characters" in str(data[0][4])
