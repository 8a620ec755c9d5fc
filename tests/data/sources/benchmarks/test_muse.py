from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from efface.data import load_task, load_training_set
from efface.data.config import DataConfig
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Task
from support.benchmarks import articles, muse, write_benchmark
from support.messages import assert_names


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    muse(folder, corpus="books")
    return muse(folder)


def load(data_dir: Path, **settings: Any) -> Task:
    return load_task(DataConfig(**{"source": "muse", "corpus": "news", **settings}), data_dir=data_dir)


def texts(items: Any) -> list[str]:
    return [item.answer for item in items]


def scored(task: Task) -> dict[str, EvaluationSet]:
    return {each.name: each for each in task.evaluation}


@pytest.mark.parametrize("corpus", ["news", "books"])
def test_what_is_forgotten_retained_and_scored(data_dir: Path, corpus: str) -> None:
    task = load(data_dir, corpus=corpus)
    assert task.name == f"muse-{corpus}"
    assert texts(task.forget) == [row["text"] for row in articles("museum")]
    assert texts(task.retain) == [row["text"] for row in articles("library", 4)]
    assert all(item.passage for item in (*task.forget, *task.retain))
    sets = scored(task)
    assert list(sets) == ["forget", "forget_knowledge", "retain", "members", "holdout"]
    path = data_dir / f"muse_{corpus}" / "raw_forget.json"
    assert task.sources[f"muse_{corpus}/raw_forget.json"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_sets_are_asked_as_muse_asks(data_dir: Path) -> None:
    """Lengths, stop strings, few-shot examples and metrics of metrics/*.py of its code."""
    sets = scored(load(data_dir))
    verbatim = sets["forget"]
    assert (verbatim.max_new_tokens, verbatim.stop, verbatim.extra_metrics) == (128, (), ("rouge_l_f1",))
    assert [(item.question, item.answer, item.passage) for item in verbatim.items] == [
        ("The museum of Lisbon", " opened in 1900.", True)
    ]
    for name, what, example in (("forget_knowledge", "museum", "gallery"), ("retain", "theater", "cinema")):
        each = sets[name]
        assert (each.max_new_tokens, each.extra_metrics) == (32, ("rouge_l_f1",))
        assert each.stop == ("\n\n", "\nQuestion", "Question:")
        assert [item.question for item in each.items] == [f"When did {what} {n} open?" for n in range(2)]
        assert [(turn.role, turn.content) for turn in each.items[0].history] == [
            ("user", f"When did {example} 0 open?"),
            ("assistant", "1900"),
        ]
    for name, what in (("members", "museum"), ("holdout", "harbor")):
        assert (sets[name].max_new_tokens, sets[name].extra_metrics) == (0, ("min_k",))
        assert texts(sets[name].items) == [row["text"] for row in articles(what, 2)]


def test_scalability(data_dir: Path) -> None:
    sizes = [len(load(data_dir, forget_corpus="scal", task=number).forget) for number in (1, 2, 3, 4)]
    assert sizes == [3, 6, 9, 12]
    task = load(data_dir, forget_corpus="scal", task=2)
    assert task.name == "muse-news-scal2"
    assert scored(task)["forget"] == scored(load(data_dir))["forget"]


def test_requests_in_turn(data_dir: Path) -> None:
    third = load(data_dir, forget_corpus="sust", task=3, forgotten_before=(1, 2))
    assert texts(third.forget) == [row["text"] for row in articles("bridge")]
    sets = scored(third)
    assert list(sets)[:3] == ["forget", "forgotten-1", "forgotten-2"]
    for name, what in (("forget", "bridge"), ("forgotten-1", "museum"), ("forgotten-2", "tunnel")):
        assert [item.question + item.answer for item in sets[name].items] == [row["text"] for row in articles(what)]
        assert (sets[name].max_new_tokens, sets[name].extra_metrics) == (128, ("rouge_l_f1",))
    assert len(load(data_dir, forget_corpus="sust", passage_length=40).evaluation[0].items[0].answer) < 40


def test_a_target_model_sees_all_forget_corpora_and_a_retrained_one_what_is_left(data_dir: Path) -> None:
    config = DataConfig(source="muse", corpus="news")
    everything = load_training_set(config, data_dir=data_dir)
    kinds = ("museum", "tunnel", "bridge", "station", "theater")
    expected = [row["text"] for what in kinds for row in articles(what)]
    assert texts(everything) == [*expected, *(row["text"] for row in articles("library", 4))]
    without = load_training_set(config, data_dir=data_dir, without="forget")
    assert texts(without) == texts(everything)[3:]
    later = config.model_copy(update={"forget_corpus": "sust", "task": 2, "forgotten_before": (1,)})
    assert texts(load_training_set(later, data_dir=data_dir, without="forget")) == texts(everything)[6:]
    books = load_training_set(DataConfig(source="muse", corpus="books"), data_dir=data_dir)
    assert len(books) == 3 + 3 + 4


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"raw_forget": [{"txt": "A text."}]}, ["raw_forget.json, row 1", "'text'", "'txt'"]),
        ({"verbmem_forget": [{"prompt": "A", "answer": "b"}]}, ["verbmem_forget.json, row 1", "'gt'"]),
        ({"knowmem_retain_qa": [{"question": "A?"}]}, ["knowmem_retain_qa.json, row 1", "'answer'"]),
        ({"raw_retain1": []}, ["raw_retain1.json", "empty"]),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, files: dict[str, Any], named: list[str]) -> None:
    write_benchmark(muse(tmp_path) / "muse_news", files)
    with pytest.raises(EffaceError) as caught:
        load(tmp_path)
    assert_names(str(caught.value), *named)


def test_a_missing_file_or_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (muse(tmp_path) / "muse_news" / "privleak_holdout.json").unlink()
    with pytest.raises(EffaceError, match=r"privleak_holdout\.json"):
        load(tmp_path)
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EffaceError) as caught:
        load_task(DataConfig(source="muse", corpus="books"), data_dir=None)
    assert_names(str(caught.value), "muse-books", "efface data fetch muse-books", "--data-dir")
