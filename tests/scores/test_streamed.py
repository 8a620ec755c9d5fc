"""Records are read and scored one at a time, and nothing of them is kept but numbers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from efface.artifacts import Record, read_records, stream_records, write_records
from efface.errors import EffaceError
from efface.scores import score_path
from efface.scores.definitions import CLOSER_LOOK
from efface.scores.from_records import from_records
from efface.scores.question import MetricInputs
from efface.scores.set_scores import score_set

Make = Callable[..., Record]


def test_what_is_read_is_what_was_written(tmp_path: Path, make_record: Make) -> None:
    path = tmp_path / "retain.jsonl"
    write_records(path, [make_record(id=str(number), output="a\u2028b\r\n\x85c") for number in range(3)])
    assert list(stream_records(path)) == read_records(path)


def test_a_record_is_read_when_its_turn_comes(tmp_path: Path, make_record: Make) -> None:
    path = tmp_path / "retain.jsonl"
    write_records(path, [make_record()])
    path.write_text(path.read_text() + "\n")
    questions = from_records("retain", stream_records(path), where=str(path))
    assert next(questions).id == "q0"
    with pytest.raises(EffaceError, match=r"retain\.jsonl, line 2: not an efface record"):
        next(questions)


@pytest.mark.parametrize("content", [b"\xff", None])
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "retain.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EffaceError, match=r"cannot read records .*retain\.jsonl: .*; run the evaluation again"):
        list(stream_records(path))


def test_questions_are_let_go() -> None:
    made: list[weakref.ref[MetricInputs]] = []
    alive = []

    def questions() -> Iterator[MetricInputs]:
        for number in range(20):
            question = MetricInputs(id=str(number), output="a", answer="a")
            made.append(weakref.ref(question))
            alive.append(sum(each() is not None for each in made))
            yield question

    assert score_set("retain", questions(), CLOSER_LOOK).scores.n == 20
    assert max(alive) <= 2  # this one, and the one before, which the loop still holds


def test_a_set_without_records_is_refused() -> None:
    with pytest.raises(EffaceError, match="here: the set retain has no questions"):
        list(from_records("retain", iter(()), where="here"))


def test_the_forget_set_is_read_once_for_all_that_is_asked(tmp_path: Path, make_record: Make) -> None:
    write_records(tmp_path / "forget.jsonl", [make_record(set="forget")])
    scores = score_path(tmp_path, against=tmp_path, refusals=["I do not know."])
    assert scores["sets"]["forget"]["n"] == scores["hallucinations"]["n"] == 1
    assert scores["forget_quality"]["p_value"] == 1.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 0.5])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_log_probability_is_found_anywhere(make_record: Make, bad: float, place: int) -> None:
    logps = [-1.0, -2.0, -3.0]
    logps[place] = bad
    record = make_record(answer_logprobs=logps)
    with pytest.raises(EffaceError, match=r"question q0: a number of answer_logprobs is .* not between"):
        list(from_records("retain", [record], where="here"))
