from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from efface.data.sources.benchmarks.published import (
    PublishedBenchmark,
    PublishedFile,
    default_data_folder,
    download_status,
    find_benchmark,
    missing_files,
    published_benchmarks,
)
from efface.errors import EffaceError
from support.messages import assert_names

BENCHMARK = PublishedBenchmark(
    name="invented",
    folder="invented_people",
    about="two files",
    source="https://example.org/",
    license="none",
    files={name: PublishedFile(size=3, sha256="0" * 64) for name in ("one.json", "two.json")},
)


def test_every_benchmark_is_pinned_to_a_commit() -> None:
    assert list(published_benchmarks()) == ["tofu", "real-world"]
    for name, benchmark in published_benchmarks().items():
        assert find_benchmark(name) is benchmark
        assert "/b622294965f8b40feb5383c9e93dbdb26a76b6b3/" in benchmark.source
        assert benchmark.about
        assert benchmark.license


@pytest.mark.parametrize(
    ("contents", "missing", "status"),
    [
        ({}, ("one.json", "two.json"), "absent"),
        ({"one.json": "abc", "two.json": "ab"}, ("two.json",), "partial"),
        ({"one.json": "ab"}, ("one.json", "two.json"), "absent"),
        ({"one.json": "abc", "two.json": "def"}, (), "complete"),
    ],
)
def test_files_of_another_size_are_missing(
    tmp_path: Path, contents: dict[str, str], missing: tuple[str, ...], status: str
) -> None:
    (tmp_path / "invented_people").mkdir()
    for name, content in contents.items():
        (tmp_path / "invented_people" / name).write_text(content)
    assert (missing_files(BENCHMARK, tmp_path), download_status(BENCHMARK, tmp_path)) == (missing, status)


def test_an_unknown_benchmark() -> None:
    with pytest.raises(EffaceError) as caught:
        find_benchmark("realworld")
    assert_names(str(caught.value), *["'realworld'", "'real-world'?", "real-world, tofu"])


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_folder() == tmp_path / "efface" / "data"
    monkeypatch.setenv("EFFACE_DATA", "elsewhere")
    assert default_data_folder() == Path("elsewhere")


def test_listing_loads_no_download_libraries() -> None:
    script = (
        "import sys; from efface.data.sources.benchmarks import download; "
        "from efface.data.sources.benchmarks.published import *; "
        "download_status(published_benchmarks()['tofu'], default_data_folder()); "
        "assert not {'pooch', 'requests', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
