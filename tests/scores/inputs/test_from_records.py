"""Records become metric inputs one at a time, and damaged ones are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.records import Record, stream_records, write_records
from efface.scores.inputs.from_records import from_records

Make = Callable[..., Record]


def test_records_are_read_during_the_iteration(tmp_path: Path, make_record: Make) -> None:
    path = tmp_path / "retain.jsonl"
    write_records(path, [make_record()])
    path.write_text(path.read_text() + "\n")
    questions = from_records("retain", stream_records(path), where=str(path))
    assert next(questions).id == "q0"
    with pytest.raises(EffaceError, match=r"retain\.jsonl, line 2: not an efface record"):
        next(questions)


def test_a_set_without_records_is_refused() -> None:
    with pytest.raises(EffaceError, match="here: the set retain has no questions"):
        list(from_records("retain", iter(()), where="here"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 0.5])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_log_probability_out_of_range_is_refused_anywhere(make_record: Make, bad: float, index: int) -> None:
    logps = [-1.0, -2.0, -3.0]
    logps[index] = bad
    record = make_record(answer_logprobs=logps)
    with pytest.raises(EffaceError, match=r"question q0: a number of answer_logprobs is .* not between"):
        list(from_records("retain", [record], where="here"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"answer_logprobs": []}, "answer_logprobs is empty, and an answer has at least one token"),
        ({"answer_logprobs": [-1.0, float("nan")]}, "a number of answer_logprobs is nan, which is not between"),
        ({"answer_logprobs": [-1.0, float("-inf")]}, "a number of answer_logprobs is -inf"),
        ({"answer_logprobs": [-9.0, 5.0]}, "a number of answer_logprobs is 5.0"),
        ({"perturbed_logprobs": [[-1.0], []]}, "perturbed_logprobs is empty"),
        ({"cosine_before": 3.0}, "a cosine is 3.0"),
        ({"entailment_label": "maybe"}, "'maybe' is not an entailment label (allowed: entailment, neutral"),
        ({"set": "forget"}, "this record belongs to the set forget; move it there"),
    ],
)
def test_damaged_records_are_refused(make_record: Make, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(EffaceError, match=re.escape(f"here, set retain, question q0: {named}")):
        list(from_records("retain", [make_record(**fields)], where="here"))
