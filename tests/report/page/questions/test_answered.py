"""Questions with answers and scores, read from records one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.artifacts import METRICS
from efface.errors import EffaceError
from efface.report.page.questions.answered import read_answered, score_folder
from efface.scores.metrics import rouge
from efface.scores.score import score_records
from support.reports import correct, record, records, write_stage, wrong

SETS = records(forget=(3, wrong), retain=(4, correct))


def test_every_question_with_the_numbers_that_the_scores_average(tmp_path: Path) -> None:
    write_stage(tmp_path, SETS)
    found = read_answered(tmp_path, "closer-look")
    assert {name: [each.id for each in rows] for name, rows in found.items()} == {
        name: [each.id for each in rows] for name, rows in SETS.items()
    }
    first, given = found["forget"][0], SETS["forget"][0]
    assert (first.question, first.answer, first.output) == (given.question, given.answer, given.output)
    scores = score_records(SETS, "closer-look").sets["forget"]
    for position, metric in enumerate(METRICS):
        values = [each.scores[position] for each in found["forget"]]
        assert sum(value or 0 for value in values) / 3 == pytest.approx(getattr(scores, metric)), metric


def test_scores_are_those_of_records_in_memory(tmp_path: Path) -> None:
    assert score_folder(tmp_path, "closer-look") is None
    write_stage(tmp_path, SETS)
    assert score_folder(tmp_path, "closer-look") == score_records(SETS, "closer-look")


def test_the_texts_of_a_question_are_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its metrics and for its verdict."""
    compared = []
    compare = rouge.common_subsequence_length
    monkeypatch.setattr(rouge, "common_subsequence_length", lambda *texts: compared.append(texts) or compare(*texts))
    rouge.rouge_l_recall.cache_clear()
    write_stage(tmp_path, {"retain": [record("retain", number, f"output {number}") for number in range(3)]})
    read_answered(tmp_path, "closer-look")
    assert len(compared) == 3


def test_a_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    write_stage(tmp_path, {"retain": [record("forget", 1, "text")]})
    with pytest.raises(EffaceError, match=r"retain\.jsonl.*forget/001.*move it"):
        read_answered(tmp_path, "closer-look")
    (tmp_path / "retain.jsonl").rename(tmp_path / "unknown.jsonl")
    with pytest.raises(EffaceError, match="unknown"):
        read_answered(tmp_path, "closer-look")
