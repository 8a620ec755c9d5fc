"""The data of the question explorer."""

from __future__ import annotations

from typing import Any

from efface.report.page.explorer_data import explorer_data, text_limit
from efface.report.page.question_outcomes import MetricValues, QuestionOutcome

CORRECT, WRONG = (0.9, 0.9, 0.9, 0.9, 0.9, 1.0), (0.1, 0.1, 0.1, 0.9, 0.1, 0.0)


def outcome(
    set_name: str, before: MetricValues | None, after: MetricValues | None, text: str = "text"
) -> QuestionOutcome:
    return QuestionOutcome(set_name, "id", "question", "answer", before and text, after and text, before, after)


def test_order_is_by_priority_with_the_position_in_the_data() -> None:
    outcomes = [
        outcome("retain", CORRECT, CORRECT),
        outcome("forget", CORRECT, WRONG),
        outcome("retain", CORRECT, WRONG),
        outcome("forget", CORRECT, CORRECT),
    ]
    assert [each[8] for each in explorer_data(outcomes, None)] == [3, 2, 1, 0]


def test_a_single_output_is_one_segment() -> None:
    [only_after], [only_before] = (
        explorer_data([outcome("retain", None, CORRECT, " text ")], None),
        explorer_data([outcome("retain", WRONG, None, " ")], None),
    )
    assert (only_after[4], only_after[5]) == ([(1, "text")], None)
    assert (only_before[4], only_before[6]) == ([], None)


def test_texts_are_truncated_only_where_they_are_too_many() -> None:
    short = [outcome("retain", CORRECT, CORRECT, "word " * 200) for _ in range(1000)]
    assert text_limit([short]) is None
    long = [outcome("retain", CORRECT, CORRECT, "x" * 100_000) for _ in range(100)]
    assert text_limit([long]) == 5_000
    data: list[Any] = explorer_data(long, 5_000)
    assert sum(len(words) for each in data for _, words in each[4]) < 600_000
    assert "95,000 more characters" in str(data[0][4])
