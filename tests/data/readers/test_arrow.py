from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from efface.data.readers.arrow import is_saved_dataset, parse_parquet
from efface.errors import EffaceError
from support.messages import assert_names
from support.user_data import LIMITS, read, read_error

ROWS = [{"question": "Who?", "answer": "Zoë"}, {"question": "When?", "answer": "In May"}]


@pytest.fixture
def datasets() -> Any:
    return pytest.importorskip("datasets")


@pytest.mark.parametrize("name", ["single", "splits"])
def test_saved_datasets_are_recognized(tmp_path: Path, datasets: Any, name: str) -> None:
    single = datasets.Dataset.from_list(ROWS)
    (single if name == "single" else datasets.DatasetDict(train=single)).save_to_disk(tmp_path / name)
    assert is_saved_dataset(tmp_path / name)
    assert not is_saved_dataset(tmp_path)


def test_a_saved_dataset(tmp_path: Path, datasets: Any) -> None:
    datasets.Dataset.from_list([*ROWS, {"question": "x", "answer": "y"}]).select([0, 1]).save_to_disk(tmp_path / "one")
    table = read(tmp_path / "one")
    assert [dict(row.values) for row in table.rows] == ROWS
    assert table.name == str(tmp_path / "one")


def test_a_saved_dataset_of_several_splits(tmp_path: Path, datasets: Any) -> None:
    one, two = (datasets.Dataset.from_list([row]) for row in ROWS)
    datasets.DatasetDict({"train": one, "test": two}).save_to_disk(tmp_path / "both")
    train, test = (read(tmp_path / "both", split=split) for split in ("train", "test"))
    assert [dict(row.values) for row in test.rows] == ROWS[1:]
    assert test.name == f"{tmp_path}/both, split test"
    assert train.sha256 != test.sha256


def test_the_hash_of_a_dataset_depends_on_its_rows_only(tmp_path: Path, datasets: Any) -> None:
    reordered = [dict(reversed(row.items())) for row in ROWS]
    for name, rows in (("a", ROWS), ("b", reordered), ("c", ROWS[:1])):
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / name)
    a, b, c = (read(tmp_path / name).sha256 for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("name", "split", "named"),
    [
        ("single", "train", ["single has no splits", "remove data.forget.split=train"]),
        ("splits", None, ["splits has several splits", "data.forget.split=NAME: train, test"]),
        ("splits", "tset", ["splits has no split 'tset'", "'test'"]),
        ("damaged", None, ["damaged looks like a saved dataset but cannot be loaded", "save it again"]),
    ],
)
def test_errors_about_a_saved_dataset(
    tmp_path: Path, datasets: Any, name: str, split: str | None, named: list[str]
) -> None:
    single = datasets.Dataset.from_list(ROWS)
    single.save_to_disk(tmp_path / "single")
    datasets.DatasetDict({"train": single, "test": single}).save_to_disk(tmp_path / "splits")
    single.save_to_disk(tmp_path / "damaged")
    next((tmp_path / "damaged").glob("*.arrow")).write_bytes(b"\0" * 8)
    assert_names(read_error(tmp_path / name, split=split), *named)


def test_errors_about_a_parquet_file(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"a": []}), tmp_path / "a.parquet")
    for content, named in [
        ((tmp_path / "a.parquet").read_bytes(), ["a.parquet is empty", "give one that has rows"]),
        (b"PAR1", ["a.parquet", "not a valid Parquet file (", "write or download it again"]),
    ]:
        with pytest.raises(EffaceError) as caught:
            parse_parquet("a.parquet", content, LIMITS)
        assert_names(str(caught.value), *named)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, datasets: Any) -> dict[str, Any]:
    """A reachable hub: `loaded` is the dataset or error that it returns, `call` the arguments of the last call."""
    given: dict[str, Any] = {"subsets": ["default"]}

    def load_dataset(path: str, **options: Any) -> Any:
        given["call"] = (path, options)
        if isinstance(given["loaded"], Exception):
            raise given["loaded"]
        return given["loaded"]

    monkeypatch.setattr("efface.data.readers.arrow.why_unreachable", lambda: None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda path, revision: given["subsets"])
    return given


def test_a_dataset_of_the_hub(hub: dict[str, Any], datasets: Any) -> None:
    hub["loaded"] = datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS))
    table = read("hf:owner/name", subset="en", revision="v2")
    assert hub["call"] == ("owner/name", {"name": "en", "revision": "v2"})
    assert [dict(row.values) for row in table.rows] == ROWS
    assert table.name == "hf:owner/name@v2, subset en, split train"
    assert table.is_published


GATED = "Dataset 'owner/name' is a gated dataset on the Hub. You must be authenticated."


@pytest.mark.parametrize(
    ("loaded", "settings", "named"),
    [
        ("splits", {}, ["hf:owner/name has several splits", "data.forget.split=NAME: train, test"]),
        ("splits", {"split": "trian"}, ["hf:owner/name has no split 'trian'", "'train'"]),
        (
            ValueError("Config name is missing.\nPlease"),
            {},
            ["hf:owner/name has several subsets", "data.forget.subset=NAME: en, de"],
        ),
        (ValueError("Unknown"), {"subset": "enn"}, ["hf:owner/name has no subset 'enn'", "'en'"]),
        ("gated", {}, ["hf:owner/name", "You must be authenticated)", "check the name", "gated", "HF_TOKEN"]),
        (ConnectionError("Couldn't reach it"), {}, ["hf:owner/name", "Couldn't reach it", "HF_HUB_OFFLINE is not set"]),
        (RuntimeError("Scripts are not supported"), {}, ["(Scripts are not supported)", "download its files"]),
        (ValueError("Other\nover two lines"), {"subset": "en"}, ["hf:owner/name", "(Other)", "download its files"]),
    ],
)
def test_errors_about_a_dataset_of_the_hub(
    hub: dict[str, Any], datasets: Any, loaded: Any, settings: dict[str, str], named: list[str]
) -> None:
    one = datasets.Dataset.from_list(ROWS)
    hub["subsets"] = ["en", "de"]
    hub["loaded"] = {
        "splits": datasets.DatasetDict(train=one, test=one),
        "gated": datasets.exceptions.DatasetNotFoundError(GATED),
    }.get(loaded, loaded)
    assert_names(read_error("hf:owner/name", **settings), *named)


@pytest.mark.parametrize("name", ["hf:", "hf:name", "hf:a/b/c", "hf:owner/../name", "hf:../name", "hf:csv"])
def test_names_that_are_not_of_the_hub(name: str, datasets: Any) -> None:
    assert_names(read_error(name), *[f"'{name}'", "hf:OWNER/NAME"])


def test_a_local_folder_is_not_read_instead_of_a_dataset_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, datasets: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert_names(read_error("hf:owner/name"), *["hf:owner/name", "local folder owner/name", "elsewhere"])


def test_an_unreachable_hub_is_an_error_within_seconds(monkeypatch: pytest.MonkeyPatch, datasets: Any) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr("efface.hub.SECONDS_TO_CONNECT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts no connection
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        start = time.monotonic()
        message = read_error("hf:owner/name")
    assert time.monotonic() - start < 25
    assert_names(message, *["hf:owner/name: ", "check the connection", "HF_HUB_OFFLINE=1"])
