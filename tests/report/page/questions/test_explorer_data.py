"""The data of the question explorer."""

from __future__ import annotations

import pytest

from efface.report.page.questions.answered import MetricValues
from efface.report.page.questions.explorer_data import compress, explorer_data, text_limit
from efface.report.page.questions.question_outcomes import QuestionOutcome
from efface.scores.verdict import Outcome
from support.reports import decompress, page_questions

CORRECT, WRONG = (0.9, 0.9, 0.9, 0.9, 0.9, 1.0), (0.1, 0.1, 0.1, 0.9, 0.1, 0.0)


def outcome(
    set_name: str,
    before: MetricValues | None,
    after: MetricValues | None,
    text: str = "text",
    verdict: Outcome | None = None,
) -> QuestionOutcome:
    texts = before and text, after and text
    return QuestionOutcome(set_name, "id", "question", "answer", *texts, before, after, verdict)


def test_order_is_by_priority_with_the_position_in_the_data() -> None:
    outcomes = [
        outcome("retain", CORRECT, CORRECT, verdict="kept"),
        outcome("forget", CORRECT, WRONG, verdict="forgotten"),
        outcome("retain", CORRECT, WRONG, verdict="broken"),
        outcome("forget", CORRECT, CORRECT, verdict="leaks"),
    ]
    assert decompress(explorer_data(outcomes, None)["index"]) == {
        "order": [3, 2, 1, 0],
        "set": ["forget", "retain", "forget", "retain"],
        "verdict": ["leaks", "broken", "forgotten", "kept"],
    }


def test_rows_have_what_one_stage_does_not_have_as_null() -> None:
    only_before, only_after = page_questions(
        explorer_data([outcome("retain", None, CORRECT, "\x1b[31m"), outcome("retain", WRONG, None)], None)
    )
    assert only_after == ["id", "question", "answer", None, "␛[31m", None, [0.9, 0.9, 0.9, 0.9, 0.9, 1.0]]
    assert only_before[4:] == [None, [0.1, 0.1, 0.1, 0.9, 0.1, 0.0], None]


def test_blocks_are_small_enough_to_be_decompressed_one_at_a_time() -> None:
    found = explorer_data([outcome("retain", CORRECT, CORRECT, f"text {number}") for number in range(1201)], None)
    assert (found["count"], found["rowsPerBlock"]) == (1201, 500)
    blocks = found["blocks"]
    assert isinstance(blocks, list)
    assert [len(decompress(each)) for each in blocks] == [500, 500, 201]
    assert [row[3] for row in page_questions(found)] == [f"text {number}" for number in range(1201)]


def test_texts_are_truncated_only_where_they_are_too_many() -> None:
    short = [outcome("retain", CORRECT, CORRECT, "word " * 200) for _ in range(1000)]
    assert text_limit([short]) is None
    long = [outcome("retain", CORRECT, CORRECT, "x" * 1_000_000) for _ in range(1000)]
    assert text_limit([long]) == 5_000
    rows = page_questions(explorer_data(long, 5_000))
    assert sum(len(text) for row in rows for text in row[3:5]) < 10_200_000
    assert rows[0][3].endswith("995,000 more characters: see the run's records]")


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        compress([float("nan")])
