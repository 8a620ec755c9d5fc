from __future__ import annotations

import pytest

from efface.data.config import DataConfig, parse_data
from efface.data.readers.table import SourceRow
from efface.data.sources.documents import chunk_tokens, continuation_set, documents
from efface.errors import EffaceError
from support.messages import assert_names


def rows(*texts: object, column: str = "text") -> list[SourceRow]:
    return [SourceRow("raw.json", number, {column: text}, "line") for number, text in enumerate(texts, 1)]


def test_documents_are_passages_and_short_ones_are_left_out() -> None:
    items = documents(rows("", " = A = ", "A longer text.", None, "Another text."), "raw", min_length=8)
    assert [(item.id, item.answer, item.passage) for item in items] == [
        ("raw/0003", "A longer text.", True),
        ("raw/0005", "Another text.", True),
    ]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (rows("a", column="txt"), ["raw.json, line 1", "'text'", "'txt'"]),
        (rows(3), ["raw.json, line 1", "'text'", "text, not a number"]),
        (rows("", " "), ["raw.json", "no text", "download"]),
    ],
)
def test_rows_without_text_are_refused(given: list[SourceRow], named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        documents(given, "raw")
    assert_names(str(caught.value), *named)


def test_a_model_continues_the_beginning_of_some_documents() -> None:
    items = documents(rows(*(f"Text {n} has a first sentence. It has a second one." for n in range(5))), "raw")
    found = continuation_set("forget", items, 2, 32, "output")
    assert [item.id for item in found.items] == ["raw/0001", "raw/0003"]
    assert found.items[0].question + found.items[0].answer == "Text 0 has a first sentence."
    with pytest.raises(EffaceError) as caught:
        continuation_set("forget", documents(rows("short"), "raw"), 2, 32, "output")
    assert_names(str(caught.value), "forget", "data.passage_length")


def test_only_corpora_are_cut_into_chunks() -> None:
    assert chunk_tokens(parse_data("muse-news")) == 2048
    assert chunk_tokens(DataConfig(source="wmdp", corpus="bio", chunk_tokens=512)) == 512
    assert chunk_tokens(parse_data("tofu-forget01")) is None
