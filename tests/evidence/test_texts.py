"""The keyed digest of a request's texts, and reading them again as the run did."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from efface.data.config import DataConfig
from efface.errors import EffaceError
from efface.evidence.texts import how_read, key_id, load_items, read_again, texts_root
from efface.schema import Item, Turn
from support.messages import assert_names

KEY = bytes(range(32))


def test_the_digest_as_documented():
    items = [
        Item(id="b", question="Q", answer="A"),
        Item(id="a", question="é", answer="B", history=(Turn(role="user", content="x"),)),
    ]
    contents = [
        '{"answer":"A","question":"Q"}',
        '{"answer":"B","history":[{"content":"x","role":"user"}],"question":"é"}',
    ]
    leaves = sorted(hmac.digest(KEY, b"efface item 1\0" + each.encode(), "sha256") for each in contents)
    expected = hmac.digest(KEY, b"efface root 1\0" + b"".join(leaves), "sha256").hex()
    assert texts_root(items, KEY) == texts_root(items[::-1], KEY) == expected


def test_every_text_counts_and_ids_do_not():
    item = Item(id="a", question="Q", answer="A")
    same = item.model_copy(update={"id": "other"})
    others = [item.model_copy(update=each) for each in ({"question": "R"}, {"answer": "B"}, {"key_fact": "k"})]
    roots = {texts_root([each], KEY) for each in (item, *others)} | {texts_root([item, item], KEY), texts_root([], KEY)}
    assert len(roots) == 6
    assert texts_root([same], KEY) == texts_root([item], KEY)
    assert texts_root([item], bytes(32)) not in roots


def test_the_id_of_a_key_is_no_digest_of_its_file():
    assert len(key_id(KEY)) == 16
    assert key_id(KEY) != key_id(bytes(32))
    assert key_id(KEY) not in (hashlib.sha256(KEY).hexdigest()[:16], KEY.hex())


def test_columns_and_length_of_passages_are_kept_and_no_path_is(tmp_path):
    (tmp_path / "x.csv").write_text("Frage,Antwort\nWo?,Hier.\nWann?,Jetzt.\n")
    columns = {"question": "Frage", "answer": "Antwort"}
    data = DataConfig(source="files", forget={"path": str(tmp_path / "x.csv"), "columns": columns}, passage_length=50)
    how = how_read(data)
    assert how == {"source": "files", "passage_length": 50, "file": {"columns": columns}}
    sources, items = load_items(data)
    assert list(sources) == [str(tmp_path / "x.csv")]
    assert read_again(str(tmp_path / "x.csv"), how) == items
    with pytest.raises(EffaceError):
        read_again(str(tmp_path / "x.csv"), {**how, "file": {"columns": {"question": "Question"}}})
    for damaged in ({**how, "file": 1}, {**how, "file": {"x": 1}}, {"source": "files"}, {"source": "nowhere"}):
        with pytest.raises(EffaceError):
            read_again(str(tmp_path / "x.csv"), damaged)


def test_a_benchmark_goes_by_its_name():
    data = DataConfig(source="synthetic-authors", authors=3, forget_authors=1, author_seed=7, retain_evaluation=2)
    how = how_read(data)
    assert how == {"source": "synthetic-authors", "authors": 3, "forget_authors": 1, "author_seed": 7}
    assert read_again("synthetic-authors", how) == load_items(data)[1]
    for other in ("tofu-forget01", "forget.csv"):
        with pytest.raises(EffaceError) as raised:
            read_again(other, how)
        assert_names(str(raised.value), other, "synthetic-authors")
