from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from efface.data.config import DataConfig
from efface.data.load import load_task
from efface.data.sources.refusals import load_refusals
from efface.errors import EffaceError
from support.messages import assert_names


def words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+", re.sub(r"['’]", "", text.lower())))


def test_there_are_a_hundred_different_refusals() -> None:
    refusals = load_refusals()
    assert len(refusals) == len({words(refusal) for refusal in refusals}) == 100
    assert all(refusal == refusal.strip() and refusal[-1] == "." for refusal in refusals)


def test_none_is_one_of_the_published_refusals(shared: Path) -> None:
    published = (shared / "data" / "idontknow.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(published) == 100
    assert not {words(refusal) for refusal in load_refusals()} & {words(refusal) for refusal in published}


def synthetic(refusals: str | None) -> DataConfig:
    return DataConfig(source="synthetic-authors", authors=3, forget_authors=1, refusals=refusals)


def test_a_file_with_one_refusal_a_line(tmp_path: Path) -> None:
    file = tmp_path / "refusals.txt"
    file.write_bytes("\ufeffI don’t know.\r\n\n  No idea.  \nI don’t know.".encode())
    task, ours = load_task(synthetic(str(file)), data_dir=None), load_task(synthetic(None), data_dir=None)
    assert task.refusals == ("I don’t know.", "No idea.", "I don’t know.")
    assert list(task.sources)[-1] == str(file)
    assert task.sources[str(file)] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert ours.refusals == load_refusals()
    assert task.model_copy(update={"refusals": ours.refusals, "sources": ours.sources}) == ours


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", ["is empty", "at least two"]),
        (b"\n \n", ["is empty", "at least two"]),
        (b"I don't know.\n", ["has one line", "at least two"]),
        (b"I don't know.\n\xff\xfe\n", ["line 2", "UTF-8"]),
        (None, ["there is no file"]),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, named: list[str]) -> None:
    file = tmp_path / "refusals.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EffaceError) as caught:
        load_task(synthetic(str(file)), data_dir=None)
    assert_names(str(caught.value), str(file), *named)


def test_the_published_refusals_are_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EFFACE_DATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for data_dir in (tmp_path, None):
        with pytest.raises(EffaceError) as caught:
            load_task(synthetic("published"), data_dir=data_dir)
        assert_names(str(caught.value), "data.refusals=published", str(tmp_path), "efface data fetch tofu", "=FILE")
    monkeypatch.delenv("EFFACE_DATA")
    with pytest.raises(EffaceError, match=r"data\.refusals=published: .* were not fetched yet"):
        load_task(synthetic("published"), data_dir=None)
    (tmp_path / "idontknow.jsonl").write_text("No.\nNot me.\n")
    task = load_task(synthetic("published"), data_dir=tmp_path)
    assert task.refusals == ("No.", "Not me.")
    assert list(task.sources)[-1] == "idontknow.jsonl"


def test_the_published_file_has_a_hundred(shared: Path) -> None:
    task = load_task(synthetic("published"), data_dir=shared / "data")
    assert len(set(task.refusals)) == 100
