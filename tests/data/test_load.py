"""The two public loaders: where they look, and which source they hand to."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from efface.data import DataConfig, load_task, load_training_set, parse_data
from efface.data.sources.published import default_data_folder, find_benchmark
from efface.errors import EffaceError


@pytest.fixture(autouse=True)
def nothing_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(("data", "benchmark"), [("tofu-forget01", "tofu"), ("real-world", "real-world")])
def test_a_benchmark_that_is_not_there_says_how_to_get_it(data: str, benchmark: str) -> None:
    with pytest.raises(EffaceError, match=f"{benchmark} was not fetched yet: run `efface data fetch {benchmark}`, or"):
        load_task(parse_data(data), data_dir=None)
    with pytest.raises(EffaceError, match="--data-dir or the environment variable EFFACE_DATA"):
        load_training_set(parse_data(data), data_dir=None)


def test_a_benchmark_fetched_in_part_is_fetched_again(shared: Path) -> None:
    folder = default_data_folder() / "real_world"
    folder.mkdir(parents=True)
    shutil.copy(shared / "data" / "real_world" / "forget.json", folder)
    with pytest.raises(EffaceError, match="real-world was fetched only in part: run `efface data fetch real-world`"):
        load_task(parse_data("real-world"), data_dir=None)


def test_what_was_fetched_is_found(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "data" / "real_world", default_data_folder() / "real_world")
    assert default_data_folder().is_relative_to(tmp_path)
    task = load_task(parse_data("real-world"), data_dir=None)
    pinned = find_benchmark("real-world").files
    assert task.sources == {f"real_world/{name}": pinned[name].sha256 for name in pinned}


def test_a_named_folder_comes_before_what_was_fetched(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shared / "data" / "real_world", default_data_folder() / "real_world")
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path / "named"))
    with pytest.raises(EffaceError, match=r"no folder .*named/real_world"):
        load_task(parse_data("real-world"), data_dir=None)
    assert load_task(parse_data("real-world"), data_dir=shared / "data").name == "real-world"


def test_a_folder_without_the_benchmark_is_named(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"no folder .*real_world: point --data-dir"):
        load_training_set(parse_data("real-world"), data_dir=tmp_path)


def test_the_environment_names_the_folder(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFACE_DATA", str(shared / "data"))
    assert load_task(parse_data("real-world"), data_dir=None).name == "real-world"


def test_a_smaller_retain_set_makes_task_and_target_alike(shared: Path) -> None:
    config = DataConfig(source="tofu", split="forget01", retain_items=80)
    task = load_task(config, data_dir=shared / "data")
    whole = load_task(DataConfig(source="tofu", split="forget01"), data_dir=shared / "data")
    assert task.retain == whole.retain[:80]
    assert load_training_set(config, data_dir=shared / "data") == (*task.forget, *task.retain)


def test_generated_authors_need_no_folder() -> None:
    config = DataConfig(source="synthetic-authors", authors=5, forget_authors=1, author_seed=3)
    task = load_task(config, data_dir=None)
    assert (len(task.forget), len(task.retain)) == (20, 80)
    assert load_training_set(config, data_dir=None) == (*task.retain, *task.forget)


def test_files_are_forgotten_and_kept(tmp_path: Path) -> None:
    forget, retain = tmp_path / "forget.jsonl", tmp_path / "retain.jsonl"
    forget.write_text('{"question": "Who?", "answer": "Ann"}')
    retain.write_text('{"question": "Where?", "answer": "Here"}')
    config = DataConfig(source="files", forget=forget, retain=retain)
    task = load_task(config, data_dir=None)
    assert load_training_set(config, data_dir=None) == (*task.forget, *task.retain)


def test_data_is_read_without_torch() -> None:
    script = "import sys, efface.data; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
