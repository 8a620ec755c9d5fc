from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from efface.data.sources.benchmarks.benchmark_folder import BenchmarkFolder
from efface.errors import EffaceError
from support.messages import assert_names
from support.user_data import write


def test_items_and_hashes_of_a_file(tmp_path: Path) -> None:
    content = '{"question": "Who?", "answer": "Ann"}\n{"question": "When?", "answer": "Now"}\n'
    write(tmp_path / "tofu" / "a.json", content)
    benchmark = BenchmarkFolder(tmp_path / "tofu")
    assert benchmark.sources == {}
    assert [(item.id, item.answer) for item in benchmark.items("a")] == [("a/0001", "Ann"), ("a/0002", "Now")]
    assert benchmark.sources == {"tofu/a.json": hashlib.sha256(content.encode()).hexdigest()}


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(EffaceError) as caught:
        BenchmarkFolder(tmp_path / "tofu")
    assert_names(
        str(caught.value), *[f"no folder {tmp_path}/tofu", "--data-dir", "EFFACE_DATA", "which contains tofu/"]
    )
    with pytest.raises(EffaceError, match=r"there is no file .*/none\.json"):
        BenchmarkFolder(tmp_path).items("none")
