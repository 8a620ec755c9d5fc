from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from efface.data import load_task, load_training_set
from efface.data.config import DataConfig
from efface.errors import EffaceError
from efface.schema import Task
from support.benchmarks import articles, wmdp, write_benchmark
from support.messages import assert_names


def load(data_dir: Path, **settings: Any) -> Task:
    return load_task(DataConfig(**{"source": "wmdp", "corpus": "cyber", **settings}), data_dir=data_dir)


def texts(items: Any) -> list[str]:
    return [item.answer for item in items]


def test_wikitext_is_retained_without_its_headings(tmp_path: Path) -> None:
    task = load(wmdp(tmp_path))
    assert task.name == "wmdp-cyber"
    assert texts(task.forget) == [row["text"] for row in articles("malware")]
    assert texts(task.retain) == [row["text"] for row in articles("castle")]
    assert [(each.name, len(each.items), each.entailment_premise) for each in task.evaluation] == [
        ("forget", 3, "output"),
        ("retain", 3, "answer"),
    ]
    assert set(task.sources) == {"wmdp_cyber/forget.json", "wmdp_cyber/wikitext.json"}


def test_the_benchmark_s_own_retain_corpus_and_fewer_documents(tmp_path: Path) -> None:
    task = load(wmdp(tmp_path, corpus="bio"), corpus="bio", retain_corpus="wmdp", documents=2, retain_evaluation=1)
    assert texts(task.retain) == [row["text"] for row in articles("compiler")[:2]]
    assert (len(task.forget), len(task.evaluation[1].items)) == (2, 1)
    config = DataConfig(source="wmdp", corpus="bio", documents=2)
    assert len(load_training_set(config, data_dir=tmp_path)) == 4


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"forget": [{"abstract": "A."}]}, ["forget.json, row 1", "'text'", "abstract"]),
        ({"wikitext": [{"text": "short"}]}, ["wikitext.json", "no text has 50"]),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, files: dict[str, Any], named: list[str]) -> None:
    write_benchmark(wmdp(tmp_path) / "wmdp_cyber", files)
    with pytest.raises(EffaceError) as caught:
        load(tmp_path)
    assert_names(str(caught.value), *named)
