"""`efface.evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import efface as package
from efface import EffaceError
from support.library import FORGET, MODEL, SCORED

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_scores_and_records_are_those_in_its_folder(here: Path) -> None:
    done = package.evaluate(MODEL, forget=FORGET, out="out", **SCORED)
    assert done.folder == here / "out"
    stored = json.loads((here / "out" / "scores.json").read_text())
    assert done.scores.model_dump() == {key: stored[key] for key in stored if key not in ("schema", "definition")}
    assert list(done.records) == ["forget"]
    assert [record.question for record in done.records["forget"]] == [row["question"] for row in FORGET]


def test_what_an_evaluation_does_not_take(here: Path) -> None:
    for given, sentence in (
        ({"train": {"lr": 1}}, "unknown key 'train'"),
        ({"retain": "model-answers"}, r"data: retain=model-answers .*data.retain=RUN/model_answers"),
    ):
        with pytest.raises(EffaceError, match=sentence):
            package.evaluate(MODEL, forget=FORGET, **given)  # type: ignore[arg-type]
    with pytest.raises(EffaceError, match="resume=True continues in a run's folder; give it as out="):
        package.unlearn(MODEL, forget=FORGET, method="me+gd", resume=True)
