from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from efface.data import load_task
from efface.data.config import DataConfig
from efface.errors import EffaceError
from efface.schema import Task
from support.messages import assert_names

AUTHORS: dict[str, Any] = {"source": "synthetic-authors", "authors": 3, "forget_authors": 1}
UNSEEN = [{"question": f"Where was stranger {n} born?", "answer": f"In town {n}."} for n in range(3)]


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def load(**settings: Any) -> Task:
    return load_task(DataConfig(**{**AUTHORS, **settings}), data_dir=None)


def test_holdout_items_are_scored_by_their_likelihood_and_not_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "unseen.jsonl", UNSEEN)
    plain, task = load(), load(holdout=path)
    assert (task.forget, task.retain) == (plain.forget, plain.retain)
    *others, holdout = task.evaluation
    assert (holdout.name, holdout.max_new_tokens, holdout.extra_metrics) == ("holdout", 0, ("min_k",))
    assert [item.question for item in holdout.items] == [row["question"] for row in UNSEEN]
    assert {each.name: each.extra_metrics for each in others} == {"forget": ("min_k",), "retain": ()}
    assert path in task.sources


def test_an_item_that_is_trained_on_is_refused(tmp_path: Path) -> None:
    known = load().retain[5]
    path = write(tmp_path / "unseen.jsonl", [*UNSEEN, {"question": known.question.upper(), "answer": known.answer}])
    with pytest.raises(EffaceError) as caught:
        load(holdout=path)
    assert_names(str(caught.value), "data.holdout", "holdout/0004", known.id)


@pytest.mark.parametrize("split", ["forget01", "forget05"])
def test_the_holdout_set_of_a_tofu_split(tmp_path: Path, shared: Path, split: str) -> None:
    shutil.copytree(shared / "data" / "tofu", tmp_path / "tofu", copy_function=lambda a, b: Path(b).symlink_to(a))
    config = DataConfig(source="tofu", split=split, holdout="published")  # type: ignore[arg-type]
    with pytest.raises(EffaceError) as caught:
        load_task(config, data_dir=tmp_path)
    name = split.replace("forget", "holdout")
    assert_names(str(caught.value), f"{name}.json", "efface data fetch tofu-holdout", "data.holdout=FILE")
    write(tmp_path / "tofu" / f"{name}.json", UNSEEN)
    task = load_task(config, data_dir=tmp_path)
    assert task.evaluation[-1].items[0].id == f"{name}/0001"
    assert f"tofu/{name}.json" in task.sources


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"holdout": "published"}, ["holdout=published", "source=tofu", "synthetic-authors"]),
        ({"source": "muse", "corpus": "news", "holdout": "a.jsonl"}, ["holdout=a.jsonl", "source=muse"]),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], named: list[str]) -> None:
    given = settings if "source" in settings else {**AUTHORS, **settings}
    with pytest.raises(ValidationError) as caught:
        DataConfig(**given)
    assert_names(str(caught.value), *named)
