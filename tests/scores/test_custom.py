"""Custom metrics: their means are reported next to the six, and no aggregate includes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.artifacts import METRICS, SetScores
from efface.errors import EffaceError
from efface.records import Record, write_records
from efface.scores import score_path, score_records
from efface.scores.custom import RecordMetric

Make = Callable[..., Record]


class Length(RecordMetric):
    """Characters of the output, where there is one."""

    name = "length"

    def score(self, record: Record) -> float | None:
        """Of any range."""
        return len(record.output) or None


def returning(value: Any) -> RecordMetric:
    """A metric that returns `value`, or raises it."""

    class Odd(RecordMetric):
        name = "odd"

        def score(self, record: Record) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

    return Odd()


@pytest.fixture
def records(make_record: Make) -> dict[str, list[Record]]:
    """Two sets of two questions, with outputs of 2, 4, 6 and no characters."""
    lengths = {"retain": (2, 4), "forget": (6, 0)}
    return {
        name: [make_record(set=name, id=f"{name}/{n}", output="a" * length) for n, length in enumerate(each)]
        for name, each in lengths.items()
    }


def test_means_and_why_one_is_missing(records: dict[str, list[Record]]) -> None:
    scores = score_records(records, "closer-look", [Length()])
    assert {name: each.custom for name, each in scores.sets.items()} == {
        "retain": {"length": 3.0},
        "forget": {"length": None},
    }
    assert scores.missing["length"] == "forget (1 of 2 questions, first forget/1): the metric returns None"


def test_nothing_else_changes(records: dict[str, list[Record]]) -> None:
    without = score_records(records, "closer-look").model_dump()
    whole = score_records(records, "closer-look", [Length()]).model_dump()
    for name in records:
        assert list(whole["sets"][name]) == ["n", *METRICS, "custom"]
        del whole["sets"][name]["custom"]
    del whole["missing"]["length"]
    assert whole == without


def test_scores_with_and_without_survive_json() -> None:
    plain = SetScores(n=1, **dict.fromkeys(METRICS, 0.5))
    custom = plain.model_copy(update={"custom": {"length": 3.0, "odd": None}})
    for scores in (plain, custom):
        assert SetScores.model_validate_json(scores.model_dump_json()) == scores
    assert "custom" not in json.loads(plain.model_dump_json())


@pytest.mark.parametrize(("value", "number"), [(True, 1.0), (3, 3.0), (-2.5, -2.5)])
def test_numbers_of_every_type(records: dict[str, list[Record]], value: object, number: float) -> None:
    assert score_records(records, "tofu", [returning(value)]).sets["forget"].custom == {"odd": number}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (KeyError("answer"), "it failed (KeyError: 'answer'); correct its method score"),
        (float("nan"), "it returned nan; return a finite number, or None"),
        (float("inf"), "it returned inf"),
        ("much", "it returned 'much'"),
        ([0.5], "it returned [0.5]"),
    ],
)
def test_a_metric_that_fails_or_returns_no_number(
    records: dict[str, list[Record]], value: object, problem: str
) -> None:
    with pytest.raises(EffaceError, match=re.escape(f"metric 'odd', set retain, question retain/0: {problem}")):
        score_records(records, "closer-look", [returning(value)])


def test_score_path_applies_them_to_records(records: dict[str, list[Record]], tmp_path: Path) -> None:
    for name, rows in records.items():
        write_records(tmp_path / "records" / "after" / f"{name}.jsonl", rows)
    scores = score_path(tmp_path, metrics=[Length()], against=tmp_path)
    assert scores["sets"]["retain"]["custom"] == {"length": 3.0}
    assert "custom" not in score_path(tmp_path)["sets"]["retain"]


def test_an_eval_log_has_none(make_block: Callable[..., Any], write_log: Callable[[Any], Path]) -> None:
    scores = score_path(write_log({"eval_log_forget.json": make_block()}), metrics=[Length()])
    assert scores["sets"]["forget"]["custom"] == {"length": None}
    assert (
        scores["missing"]["length"]
        == "forget: an eval log has no records, and custom metrics are computed from records"
    )
