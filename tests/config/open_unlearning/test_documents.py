"""Which data sets of open-unlearning are MUSE or WMDP, and which stay files."""

from __future__ import annotations

from typing import Any

import pytest

from efface.config.open_unlearning.documents import document_data
from efface.data.config import DataConfig


def data_set(handler: str = "PretrainingDataset", **hub: Any) -> dict[str, Any]:
    return {"handler": handler, "args": {"hf_args": hub, "text_key": "text", "max_length": 2048}}


def muse(name: str, split: str, corpus: str = "News") -> dict[str, Any]:
    return data_set(path=f"muse-bench/MUSE-{corpus}", name=name, split=split)


def wmdp(corpus: str, side: str) -> dict[str, Any]:
    return data_set(path="text", data_files=f"data/wmdp/wmdp-corpora/{corpus}-{side}-corpus.jsonl", split="train")


RETAIN = muse("raw", "retain1")


@pytest.mark.parametrize(
    ("forget", "retain", "expected"),
    [
        (muse("raw", "forget"), RETAIN, {"source": "muse", "corpus": "news"}),
        (muse("raw", "forget", "Books"), None, {"source": "muse", "corpus": "books"}),
        (muse("scal", "forget_3"), RETAIN, {"source": "muse", "corpus": "news", "forget_corpus": "scal", "task": 3}),
        (muse("sust", "forget_1"), RETAIN, {"source": "muse", "corpus": "news", "forget_corpus": "sust", "task": 1}),
        (wmdp("bio", "forget"), wmdp("bio", "retain"), {"source": "wmdp", "corpus": "bio", "retain_corpus": "wmdp"}),
    ],
)
def test_documents_of_a_benchmark(
    forget: dict[str, Any], retain: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    found = document_data(forget, retain)
    assert found == {**expected, "chunk_tokens": 2048}
    DataConfig(**found)


@pytest.mark.parametrize(
    ("forget", "retain"),
    [
        (muse("raw", "forget"), muse("raw", "retain2")),
        (muse("raw", "forget"), muse("raw", "retain1", "Books")),
        (muse("raw", "holdout"), RETAIN),
        (muse("train", "forget_1"), RETAIN),
        (muse("raw", "forget") | {"handler": "CompletionDataset"}, RETAIN),
        (wmdp("bio", "forget"), wmdp("cyber", "retain")),
        (wmdp("bio", "retain"), None),
        (data_set(path="text", data_files="mine.jsonl"), None),
    ],
)
def test_others_are_files(forget: dict[str, Any], retain: dict[str, Any] | None) -> None:
    assert document_data(forget, retain) is None
