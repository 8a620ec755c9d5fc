from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import pytest

from efface.data.readers.python_rows import to_json_lines
from efface.errors import EffaceError
from support.messages import assert_names


def parsed(given: Any) -> list[dict[str, object]]:
    return [json.loads(line) for line in to_json_lines("forget", given).splitlines()]


def test_values_of_python_are_unchanged() -> None:
    row = {"question": "Wo?", "answer": "In Köln", "n": 3, "x": None, "list": [{"a": (1, 2.5)}], "when": None}
    moment = datetime.datetime(2026, 1, 2, 3, 4)
    text = to_json_lines("forget", iter([{**row, "when": moment}]))
    assert text.count("\n") == 1
    assert "Köln" in text
    assert json.loads(text) == {**row, "list": [{"a": [1, 2.5]}], "when": "2026-01-02T03:04:00"}


def test_values_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    messages = numpy.array([{"role": "user", "content": numpy.str_("Hi?")}], dtype=object)
    row = {"wrong": numpy.array(["x", "y"]), "messages": messages, "n": numpy.int64(3), "nan": numpy.float32("nan")}
    assert parsed([row]) == [
        {"wrong": ["x", "y"], "messages": [{"role": "user", "content": "Hi?"}], "n": 3, "nan": None}
    ]


def test_a_data_frame_with_missing_values() -> None:
    pandas = pytest.importorskip("pandas")
    assert parsed([{"a": [pandas.NA], "b": pandas.NaT}]) == [{"a": [None], "b": None}]
    frame = pandas.DataFrame(
        {
            "question": ["Who?", None],
            "text": pandas.array(["a", None], dtype="string"),
            "when": pandas.to_datetime(["2026-01-02", None]),
            "n": [1.5, None],
            7: [True, False],
        }
    )
    assert parsed(frame) == [
        {"question": "Who?", "text": "a", "when": "2026-01-02T00:00:00", "n": 1.5, "7": True},
        {"question": None, "text": None, "when": None, "n": None, "7": False},
    ]


def test_a_dataset_is_read_row_by_row() -> None:
    class Split:
        """Its `to_dict` gives columns."""

        def __iter__(self) -> Any:
            return iter([{"text": "a"}])

        def to_dict(self) -> Mapping[str, Any]:
            raise AssertionError

    assert parsed(Split()) == [{"text": "a"}]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (3, ["forget", "int", "a path, hf:OWNER/NAME, or rows"]),
        ([], ["forget has no rows", "at least one"]),
        (["Who?"], ["forget: row 1", "str", "{'question': ..., 'answer': ...}"]),
        ([{"a": 1}, {"a": 1, "b": b"x"}], ["forget: row 2, column 'b'", "TypeError: a bytes", "leave the column out"]),
        ([{"a": {"b": [float("inf")]}}], ["row 1, column 'a'", "ValueError: Out of range"]),
        ([{"a": "x\ud800"}], ["row 1, column 'a'", "UnicodeEncodeError: "]),
        ("two columns", ["forget is a data frame with two columns of the same name", "rename one"]),
    ],
)
def test_errors(given: Any, named: list[str]) -> None:
    if given == "two columns":
        pandas = pytest.importorskip("pandas")
        given = pandas.DataFrame([["Who?", "When?", "Ann"]], columns=["question", "question", "answer"])
    with pytest.raises(EffaceError) as caught:
        to_json_lines("forget", given)
    assert_names(str(caught.value), *named)
