"""Datasets of the library `datasets`: saved in a folder, or on the hub."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from efface.data.config import FileConfig
from efface.data.readers.read import read_table
from efface.data.readers.table import Table
from efface.errors import EffaceError

ROWS = [{"question": "Who?", "answer": "Zoë"}, {"question": "When?", "answer": "In May"}]


def read(path: Path, **settings: Any) -> Table:
    return read_table(FileConfig(path=str(path), **settings), "data.forget")


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(EffaceError) as caught:
        read(path, **settings)
    return str(caught.value)


@pytest.fixture
def datasets() -> Any:
    return pytest.importorskip("datasets")


def test_a_saved_dataset(tmp_path: Path, datasets: Any) -> None:
    datasets.Dataset.from_list([*ROWS, {"question": "x", "answer": "y"}]).select([0, 1]).save_to_disk(tmp_path / "one")
    table = read(tmp_path / "one")
    assert [dict(row.values) for row in table.rows] == ROWS
    assert table.name == str(tmp_path / "one")
    assert "has no splits: remove data.forget.split=train" in refusal(tmp_path / "one", split="train")


def test_a_saved_dataset_of_several_splits(tmp_path: Path, datasets: Any) -> None:
    one, two = (datasets.Dataset.from_list([row]) for row in ROWS)
    datasets.DatasetDict({"train": one, "test": two}).save_to_disk(tmp_path / "both")
    train, test = (read(tmp_path / "both", split=split) for split in ("train", "test"))
    assert [dict(row.values) for row in test.rows] == ROWS[1:]
    assert test.name == f"{tmp_path}/both, split test"
    assert train.sha256 != test.sha256
    assert "has several splits; choose one with data.forget.split=NAME: train, test" in refusal(tmp_path / "both")
    assert "has no split 'tset': did you mean 'test'?" in refusal(tmp_path / "both", split="tset")


def test_the_hash_of_a_dataset_goes_by_its_rows(tmp_path: Path, datasets: Any) -> None:
    turned = [dict(reversed(row.items())) for row in ROWS]
    for name, rows in (("a", ROWS), ("b", turned), ("c", ROWS[:1])):
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / name)
    a, b, c = (read(tmp_path / name).sha256 for name in "abc")
    assert a == b != c


def test_a_damaged_saved_dataset(tmp_path: Path, datasets: Any) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "one")
    next((tmp_path / "one").glob("*.arrow")).write_bytes(b"\0" * 8)
    assert "looks like a saved dataset but cannot be loaded" in refusal(tmp_path / "one")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, datasets: Any) -> dict[str, Any]:
    """What a hub within reach gives for owner/name: set `loaded` to a dataset or an error; `asked` tells the call."""
    given: dict[str, Any] = {"subsets": ["default"]}

    def load_dataset(path: str, **asked: Any) -> Any:
        given["asked"] = (path, asked)
        if isinstance(given["loaded"], Exception):
            raise given["loaded"]
        return given["loaded"]

    monkeypatch.setattr("efface.data.readers.arrow.why_unreachable", lambda: None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda path, revision: given["subsets"])
    return given


def test_a_dataset_of_the_hub(hub: dict[str, Any], datasets: Any) -> None:
    hub["loaded"] = datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS))
    table = read_table(FileConfig(path="hf:owner/name", subset="en", revision="v2"), "data.forget")
    assert hub["asked"] == ("owner/name", {"name": "en", "revision": "v2"})
    assert [dict(row.values) for row in table.rows] == ROWS
    assert table.name == "hf:owner/name@v2, subset en, split train"
    assert table.is_published


def test_a_dataset_of_the_hub_with_several_splits(hub: dict[str, Any], datasets: Any) -> None:
    one = datasets.Dataset.from_list(ROWS)
    hub["loaded"] = datasets.DatasetDict(train=one, test=one)
    assert "hf:owner/name has several splits; choose one with data.forget.split=NAME: train, test" in refusal_of_hub()
    assert "did you mean 'train'?" in refusal_of_hub(split="trian")


def test_a_dataset_of_the_hub_with_several_subsets(hub: dict[str, Any]) -> None:
    hub.update(loaded=ValueError("Config name is missing.\nPlease"), subsets=["en", "de"])
    assert refusal_of_hub() == "hf:owner/name has several subsets; choose one with data.forget.subset=NAME: en, de"
    assert "hf:owner/name has no subset 'enn': did you mean 'en'?" in refusal_of_hub(subset="enn")


def test_a_dataset_that_the_hub_does_not_give(hub: dict[str, Any], datasets: Any) -> None:
    missing = datasets.exceptions.DatasetNotFoundError
    hub["loaded"] = missing("Dataset 'owner/name' is a gated dataset on the Hub. You must be authenticated.")
    assert "is a gated dataset on the Hub. You must be authenticated); check the name" in refusal_of_hub()
    assert "if it is private or gated, set HF_TOKEN or run `hf auth login`" in refusal_of_hub()
    hub["loaded"] = ConnectionError("Couldn't reach 'owner/name' on the Hub (OfflineModeIsEnabled)")
    assert "check the connection, and that HF_HUB_OFFLINE is not set" in refusal_of_hub()
    hub["loaded"] = RuntimeError("Dataset scripts are no longer supported, but found name.py")
    assert "(Dataset scripts are no longer supported, but found name.py); download its files" in refusal_of_hub()
    hub["loaded"] = ValueError("Something else\nover two lines")
    assert "hf:owner/name cannot be loaded (Something else); download" in refusal_of_hub()


@pytest.mark.parametrize("name", ["hf:", "hf:name", "hf:a/b/c", "hf:owner/../name", "hf:../name", "hf:csv"])
def test_a_name_that_is_none_of_the_hub(name: str, datasets: Any) -> None:
    assert f"'{name}' names no dataset; write it as hf:OWNER/NAME" in refusal_of_hub(path=name)


def test_a_folder_is_not_taken_for_a_dataset_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, datasets: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert "would take the folder owner/name here for it" in refusal_of_hub()


def test_a_hub_that_cannot_be_reached_is_said_to_be_so_at_once(monkeypatch: pytest.MonkeyPatch, datasets: Any) -> None:
    import huggingface_hub.constants

    with socket.create_server(("127.0.0.1", 0)) as server:  # connections wait in its queue for ever
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        start = time.monotonic()
        sentence = refusal_of_hub()
    assert time.monotonic() - start < 8
    assert sentence.startswith("hf:owner/name: the hub cannot be reached (")
    assert sentence.endswith("; check the connection, or set HF_HUB_OFFLINE=1 to use what is cached")


def refusal_of_hub(path: str = "hf:owner/name", **settings: Any) -> str:
    with pytest.raises(EffaceError) as caught:
        read_table(FileConfig(path=path, **settings), "data.forget")
    assert "\n" not in str(caught.value)
    return str(caught.value)
