from __future__ import annotations

from pathlib import Path

import pytest

from efface.data import load_task
from efface.data.config import SHORTHANDS, parse_data
from efface.data.sources.benchmarks.hub_benchmarks import hub_benchmarks
from efface.data.sources.benchmarks.published import published_benchmarks
from efface.data.sources.catalog import list_data


def test_every_shorthand_is_listed() -> None:
    listed = list_data(None)
    names = [*published_benchmarks(), *hub_benchmarks(), "synthetic-authors", "files"]
    assert [each.name for each in listed] == names
    used = {setting.removeprefix("data=") for each in listed[:-1] for setting in each.settings}
    assert used == {*SHORTHANDS, "data.holdout=published"}


def test_folder_and_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tofu = list_data(None)[0]
    assert (tofu.status, tofu.folder) == ("absent", tmp_path / "efface" / "data" / "tofu")
    name, file = next(iter(published_benchmarks()["tofu"].files.items()))
    (tmp_path / "tofu").mkdir()
    (tmp_path / "tofu" / name).write_bytes(b" " * file.size)
    assert list_data(tmp_path)[0].status == "partial"


def test_numbers_of_questions_are_those_of_the_data(shared: Path) -> None:
    questions = {each.name: each.questions for each in list_data(shared / "data")}
    hub = set(hub_benchmarks())
    assert all(each.status == "complete" for each in list_data(shared / "data") if each.name not in hub)
    task = load_task(parse_data("real-world"), data_dir=shared / "data")
    scored = next(each.items for each in task.evaluation if each.name == "neighbor")
    counts = len(task.forget), len(task.retain), len(scored)
    assert questions["real-world"] == "{:,}: {} to forget, {} to retain and {} to score".format(sum(counts), *counts)
    sizes = []
    for split in ("forget01", "forget05", "forget10"):
        task = load_task(parse_data(f"tofu-{split}"), data_dir=shared / "data")
        assert len(task.forget) + len(task.retain) == 4000
        sizes.append(len(task.forget))
    assert questions["tofu"] == "4,000, of which a task forgets {}, {} or {}".format(*sizes)
    authors = load_task(parse_data("synthetic-authors"), data_dir=None)
    assert f"; {len(authors.forget) + len(authors.retain)} with the default" in questions["synthetic-authors"]
