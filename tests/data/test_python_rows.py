"""Rows that are Python objects, as JSON lines."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import pytest

from efface.data.readers.python_rows import to_json_lines
from efface.errors import EffaceError


def rows(given: Any) -> list[dict[str, object]]:
    return [json.loads(line) for line in to_json_lines("forget", given).splitlines()]


def refusal(given: Any) -> str:
    with pytest.raises(EffaceError) as caught:
        to_json_lines("forget", given)
    return str(caught.value)


def test_rows_of_python_stay_as_they_are() -> None:
    row = {"question": "Wo?", "answer": "In Köln", "n": 3, "x": None, "list": [{"a": (1, 2.5)}], "when": None}
    moment = datetime.datetime(2026, 1, 2, 3, 4)
    text = to_json_lines("forget", iter([{**row, "when": moment}]))
    assert text.count("\n") == 1
    assert "Köln" in text
    assert json.loads(text) == {**row, "list": [{"a": [1, 2.5]}], "when": "2026-01-02T03:04:00"}


def test_what_numpy_holds() -> None:
    numpy = pytest.importorskip("numpy")
    messages = numpy.array([{"role": "user", "content": numpy.str_("Hi?")}], dtype=object)
    row = {"wrong": numpy.array(["x", "y"]), "messages": messages, "n": numpy.int64(3), "nan": numpy.float32("nan")}
    assert rows([row]) == [{"wrong": ["x", "y"], "messages": [{"role": "user", "content": "Hi?"}], "n": 3, "nan": None}]


def test_a_data_frame_with_missing_values() -> None:
    pandas = pytest.importorskip("pandas")
    assert rows([{"a": [pandas.NA], "b": pandas.NaT}]) == [{"a": [None], "b": None}]
    frame = pandas.DataFrame(
        {
            "question": ["Who?", None],
            "text": pandas.array(["a", None], dtype="string"),
            "when": pandas.to_datetime(["2026-01-02", None]),
            "n": [1.5, None],
            7: [True, False],
        }
    )
    assert rows(frame) == [
        {"question": "Who?", "text": "a", "when": "2026-01-02T00:00:00", "n": 1.5, "7": True},
        {"question": None, "text": None, "when": None, "n": None, "7": False},
    ]


def test_a_dataset_is_read_row_by_row() -> None:
    class Split:
        """Has a `to_dict` of its own, which gives columns."""

        def __iter__(self) -> Any:
            return iter([{"text": "a"}])

        def to_dict(self) -> Mapping[str, Any]:
            raise AssertionError

    assert rows(Split()) == [{"text": "a"}]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (3, "forget is of type int; give a path, hf:OWNER/NAME, or rows"),
        ([], "forget holds no rows; give one at least"),
        (["Who?"], "forget: row 1 is of type str; give mappings such as {'question': ..., 'answer': ...} or"),
        ([{"a": 1}, {"a": 1, "b": b"x"}], "forget: row 2, column 'b': cannot be written as JSON (TypeError: a bytes);"),
        ([{"a": {"b": [float("inf")]}}], "row 1, column 'a': cannot be written as JSON (ValueError: Out of range"),
        ([{"a": "x\ud800"}], "row 1, column 'a': cannot be written as JSON (UnicodeEncodeError: "),
    ],
)
def test_what_are_no_rows(given: Any, sentence: str) -> None:
    assert sentence in refusal(given)


def test_a_data_frame_with_two_columns_of_one_name() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["Who?", "When?", "Ann"]], columns=["question", "question", "answer"])
    assert refusal(frame) == "forget is a data frame with two columns of one name; rename one of them"
