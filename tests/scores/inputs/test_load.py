from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.records import Record, write_records
from efface.scores import score_path
from efface.scores.inputs.load import load

Make = Callable[..., Record]


@pytest.fixture
def run(tmp_path: Path, make_record: Make) -> Path:
    """A run's folder whose model answers correctly before unlearning and refuses after."""
    for stage, output in (("before", "She was born in Oslo."), ("after", "I cannot say.")):
        for name in ("forget", "retain"):
            record = make_record(set=name, output=output, cosine_before=0.25 if stage == "after" else None)
            write_records(tmp_path / "records" / stage / f"{name}.jsonl", [record])
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    return tmp_path


def test_stages(run: Path) -> None:
    assert score_path(run, stage="before")["sets"]["forget"]["rouge"] == 1.0
    assert score_path(run)["sets"]["forget"]["rouge"] == 0.0


def test_files_that_are_not_text_are_refused(run: Path) -> None:
    (run / "records" / "after" / "forget.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(EffaceError, match=r"forget\.jsonl, line 1: not an efface record.*; run the evaluation again"):
        score_path(run)


def test_folders_inside_a_run(run: Path) -> None:
    assert score_path(run / "records") == score_path(str(run)) == score_path(run / "records" / "after")
    assert score_path(run / "records" / "before") == score_path(run, stage="before")


def test_sets_keep_one_order(run: Path) -> None:
    assert list(score_path(run)["sets"]) == ["retain", "forget"]


def test_records_before_unlearning_have_no_cosine_before(run: Path) -> None:
    assert score_path(run, definition="paper")["sets"]["forget"]["cosine_similarity"] == 0.25
    scores = score_path(run, definition="paper", stage="before")
    assert "cosine_similarity" in scores["missing"]
    assert scores["model_utility"] is scores["forget_efficacy"] is None


def test_against(run: Path) -> None:
    assert score_path(run, against=run)["forget_quality"] == {"p_value": 1.0, "statistic": 0.0}
    (run / "records" / "after" / "forget.jsonl").unlink()
    with pytest.raises(EffaceError, match="has no forget set, and forget quality compares two"):
        score_path(run / "records" / "before", against=run)


@pytest.mark.parametrize(
    ("folder", "stage", "named"),
    [
        ("nowhere", "after", r"nowhere does not exist; give a run's folder or the file of an eval log"),
        ("empty", "after", r"empty holds no records of the stage 'after' \(records/after/SET\.jsonl\)"),
        (".", "befor", r"no stage 'befor'; did you mean 'before'\?"),
    ],
)
def test_paths_without_records_are_refused(run: Path, folder: str, stage: Any, named: str) -> None:
    (run / "empty").mkdir()
    with pytest.raises(EffaceError, match=named):
        load(run / folder, stage=stage)


def test_a_run_without_an_evaluation_is_refused(run: Path) -> None:
    for file in (run / "records" / "after").iterdir():
        file.unlink()
    (run / "records" / "after").rmdir()
    with pytest.raises(EffaceError, match="holds no records of the stage 'after'"):
        load(run, stage="after")


def test_damaged_records_are_refused(run: Path, make_record: Make) -> None:
    path = run / "records" / "after" / "forget.jsonl"
    path.write_text("")
    with pytest.raises(EffaceError, match=r"forget\.jsonl: the set forget has no questions"):
        load(run, stage="after")
    path.write_text('{"set": "forget"')
    with pytest.raises(EffaceError, match=r"forget\.jsonl, line 1: not an efface record"):
        score_path(run)
    write_records(path, [make_record(set="retain")])
    with pytest.raises(EffaceError, match=r"forget\.jsonl, set forget, question q0: .* belongs to the set retain"):
        score_path(run)
    path.rename(path.with_name("forgett.jsonl"))
    with pytest.raises(EffaceError, match=r"'forgett' is not an evaluation set; did you mean 'forget'\?"):
        load(run, stage="after")


def test_forget_quality_and_hallucinations_share_the_forget_set(tmp_path: Path, make_record: Make) -> None:
    write_records(tmp_path / "forget.jsonl", [make_record(set="forget")])
    scores = score_path(tmp_path, against=tmp_path, refusals=["I do not know."])
    assert scores["sets"]["forget"]["n"] == scores["hallucinations"]["n"] == 1
    assert scores["forget_quality"]["p_value"] == 1.0
