"""Benchmarks of the hub: what is asked of it, what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efface.data import load_task
from efface.data.config import CORPORA, SHORTHANDS, DataConfig
from efface.data.sources.benchmarks import hub_benchmarks as module
from efface.data.sources.benchmarks.hub_benchmarks import (
    HubBenchmark,
    HubFile,
    fetch_from_hub,
    find_benchmark_anywhere,
    hub_benchmarks,
    hub_status,
)
from efface.errors import EffaceError
from support.benchmarks import muse, wmdp
from support.messages import assert_names

ROWS = [{"text": f"Text {n}", "doi": "x"} for n in range(3)]
BENCHMARK = HubBenchmark(
    name="small",
    folder="small_texts",
    about="-",
    questions="-",
    repo="owner/small",
    revision="v1",
    license="-",
    files={
        "forget": HubFile(subset="raw", split="forget", columns=("text",), rows=2),
        "wikitext": HubFile(repo="other/wiki", split="test", columns=("text",)),
    },
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A reachable hub: `calls` are the arguments of `load_dataset`, `loaded` is what it returns or raises."""
    datasets = pytest.importorskip("datasets")
    splits = dict.fromkeys(("forget", "test"), datasets.Dataset.from_list(ROWS))
    given: dict[str, Any] = {"calls": [], "loaded": datasets.DatasetDict(splits), "datasets": datasets}

    def load_dataset(path: str, **options: Any) -> Any:
        given["calls"].append((path, options))
        if isinstance(given["loaded"], Exception):
            raise given["loaded"]
        return given["loaded"]

    monkeypatch.setattr("efface.data.readers.arrow.why_unreachable", lambda: None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return given


def test_files_are_fetched_once(hub: dict[str, Any], tmp_path: Path) -> None:
    assert hub_status(BENCHMARK, tmp_path) == "absent"
    fetched = fetch_from_hub(BENCHMARK, tmp_path)
    assert (fetched.downloaded, fetched.already_present) == (("forget", "wikitext"), ())
    assert hub["calls"] == [
        ("owner/small", {"name": "raw", "revision": "v1"}),
        ("other/wiki", {"name": None, "revision": None}),
    ]
    lines = (tmp_path / "small_texts" / "forget.json").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"text": "Text 0"}, {"text": "Text 1"}]
    assert hub_status(BENCHMARK, tmp_path) == "complete"
    (tmp_path / "small_texts" / "wikitext.json").unlink()
    assert hub_status(BENCHMARK, tmp_path) == "partial"
    assert fetch_from_hub(BENCHMARK, tmp_path).downloaded == ("wikitext",)


def test_a_gated_data_set_says_where_to_log_in(hub: dict[str, Any], tmp_path: Path) -> None:
    missing = hub["datasets"].exceptions.DatasetNotFoundError
    hub["loaded"] = missing("Dataset 'owner/small' is a gated dataset on the Hub. You must be authenticated.")
    with pytest.raises(EffaceError) as caught:
        fetch_from_hub(BENCHMARK, tmp_path)
    assert_names(str(caught.value), "small cannot be fetched", "hf:owner/small", "gated", "efface data fetch small")
    assert list(tmp_path.iterdir()) == []


def test_other_columns_are_refused(hub: dict[str, Any], tmp_path: Path) -> None:
    hub["loaded"] = hub["datasets"].DatasetDict(forget=hub["datasets"].Dataset.from_list([{"body": "x"}]))
    with pytest.raises(EffaceError) as caught:
        fetch_from_hub(BENCHMARK, tmp_path)
    assert_names(str(caught.value), "hf:owner/small", "text", "body")


@pytest.mark.usefixtures("hub")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "small_texts").write_text("a file")
    with pytest.raises(EffaceError) as caught:
        fetch_from_hub(BENCHMARK, tmp_path)
    assert_names(str(caught.value), "small_texts", "--data-dir")


def test_names() -> None:
    assert find_benchmark_anywhere("tofu").name == "tofu"
    assert find_benchmark_anywhere("muse-news") is hub_benchmarks()["muse-news"]
    with pytest.raises(EffaceError) as caught:
        find_benchmark_anywhere("muse-new")
    assert_names(str(caught.value), "'muse-new'", "muse-news")


def test_every_corpus_can_be_fetched_and_its_files_are_those_that_are_read(tmp_path: Path) -> None:
    """The local copies of the tests have the shape of what is fetched, and loading reads no other file."""
    for source, make in (("muse", muse), ("wmdp", wmdp)):
        for corpus in CORPORA[source]:  # type: ignore[index]
            name = f"{source}-{corpus}"
            make(tmp_path, corpus=corpus)
            benchmark = module.hub_benchmarks()[name]
            assert name in SHORTHANDS
            assert {path.stem for path in (tmp_path / benchmark.folder).iterdir()} == set(benchmark.files)
            assert hub_status(benchmark, tmp_path) == "complete"
            for file, given in benchmark.files.items():
                first = json.loads((tmp_path / benchmark.folder / f"{file}.json").read_text().splitlines()[0])
                assert set(first) == set(given.columns)
            load_task(DataConfig(source=source, corpus=corpus), data_dir=tmp_path)  # type: ignore[arg-type]
