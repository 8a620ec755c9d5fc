from __future__ import annotations

from pathlib import Path

import pytest

from efface.auditing.attack import ModelName, Unit
from efface.auditing.rows import RowsFile
from efface.errors import EffaceError
from support.audited import facts, row_of
from support.messages import assert_names

KEYS: dict[ModelName, str] = {"after": "a", "control": "c"}
UNIT = Unit("plain")


def add(rows: RowsFile, model: ModelName = "after") -> None:
    rows.add("plain", UNIT, model, [row_of(each, hit=True, output="é\n") for each in facts(3)], seconds=1.5)


def test_a_unit_is_read_again(tmp_path: Path) -> None:
    first = RowsFile(tmp_path, KEYS)
    add(first)
    again = RowsFile(tmp_path, KEYS)
    assert again.done("plain", UNIT, "after") == first.done("plain", UNIT, "after")
    assert again.seconds("plain", UNIT, "after") == 1.5
    assert again.done("plain", UNIT, "control") is None
    add(again, "control")
    assert RowsFile(tmp_path, KEYS).done("plain", UNIT, "after") is not None


def test_a_unit_that_a_kill_cut_is_not_there(tmp_path: Path) -> None:
    rows = RowsFile(tmp_path, KEYS)
    add(rows)
    partial = tmp_path / ".rows.jsonl.partial"
    for cut in (10, 400):
        partial.write_bytes(partial.read_bytes()[:-cut])
        assert RowsFile(tmp_path, KEYS).done("plain", UNIT, "after") is None


def test_rows_of_another_audit_are_dropped(tmp_path: Path) -> None:
    add(RowsFile(tmp_path, KEYS))
    other = RowsFile(tmp_path, {"after": "other"})
    assert other.done("plain", UNIT, "after") is None
    assert other.text() == ""


def test_rows_of_an_attack_that_its_user_has_changed_are_dropped(tmp_path: Path) -> None:
    add(RowsFile(tmp_path, KEYS, {"plain": "one"}))
    assert RowsFile(tmp_path, KEYS, {"plain": "one"}).done("plain", UNIT, "after") is not None
    assert RowsFile(tmp_path, KEYS, {"plain": "two"}).done("plain", UNIT, "after") is None


def test_an_interrupted_audit_is_continued_without_losing_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(RowsFile(tmp_path, KEYS))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        add(RowsFile(tmp_path, KEYS), "control")
    assert RowsFile(tmp_path, KEYS).done("plain", UNIT, "after") is not None


def test_a_damaged_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for content in ("{}\n", "[\n", '{"model": 1}\n', "\xff\n"):
        path.write_text(content, encoding="latin-1")
        with pytest.raises(EffaceError) as error:
            RowsFile(tmp_path, KEYS)
        assert_names(str(error.value), str(path), "line 1", "remove")
