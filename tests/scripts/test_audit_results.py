"""scripts/audit_results.py collects audits, and makes the tables and the picture of docs/audit.md."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit_results.py"


@pytest.fixture
def commands() -> Any:
    return runpy.run_path(str(SCRIPT))["_COMMANDS"]


@pytest.fixture
def gathered(tmp_path: Path, commands: Any) -> Path:
    """The file of one run's audit, made from the run's folder."""
    run, out = tmp_path / "me+gd", tmp_path / "audits.json"
    run.mkdir()
    audit = {
        "recoverable": {"k": 5, "n": 20, "interval": [0.0866, 0.491], "asked_plainly": 1, "by_asking": 2},
        "control": {"model": "private/place/retrained", "k": 0},
        "attacks": {
            "plain": {"rate": 0.05, "n": 20},
            "first-words": {"rate": 2 / 19, "n": 19},
            "read-out": {"rate": None, "n": 0},
        },
    }
    (run / "results.json").write_text(json.dumps({"method": "me+gd", "before": {}, "after": {}, "audit": audit}))
    (run / "manifest.json").write_text(json.dumps({"device": "cpu", "versions": {"torch": "2"}, "model": "private"}))
    commands["gather"](out, run)
    return out


def test_the_table_has_a_column_for_each_attack_with_hits(
    gathered: Path, commands: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "private" not in gathered.read_text()
    commands["table"](gathered)
    head, _, row = capsys.readouterr().out.splitlines()
    assert head == "| | `plain` | `first-words` | recoverable, 95 % interval | control |"
    assert row == "| ME+GD | 1 | 2 of 19 | 5 of 20, 9 to 49 % | 0 |"


def test_the_picture_is_the_same_each_time(gathered: Path, commands: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    for out in (first, second):
        commands["picture"](gathered, out)
    assert first.read_bytes() == second.read_bytes()


def test_the_self_test_has_one_row_for_each_main_number(
    tmp_path: Path, commands: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "faithfulness": 1.0,
        "stability": 0.9,
        "robustness": None,
        "knows": 1.0,
        "hidden": 0.5,
        "never": 0.0,
        "twin": 0.25,
    }
    stored = {"seeds": {"0": {}}, "gates": {"a gate": True}, "numbers": {"relearn rate": row, "something else": row}}
    (tmp_path / "in.json").write_text(json.dumps(stored))
    commands["self-test"](tmp_path / "in.json")
    said = capsys.readouterr().out
    assert "| `relearn`, rate | 1.00 | 0.90 | - | 1.00 | 0.50 | 0.00 | 0.25 |" in said
    assert "something else" not in said
    assert "a gate: holds" in said
