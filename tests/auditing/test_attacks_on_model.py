from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from efface.auditing.attack import ModelName, Unit
from efface.auditing.attacks.plain import Plain
from efface.auditing.attacks_on_model import AuditPlan, Clock, runs_on
from efface.auditing.models import AuditModels
from efface.auditing.rows import RowsFile
from efface.auditing.time_plan import Part
from support.audited import Whisper, audit_context, facts, row_of

KEYS: dict[ModelName, str] = {"before": "b", "control": "c", "after": "a"}


class Compared(Whisper):
    name = "compared"
    wants_before = True


class NeedsControl(Whisper):
    name = "needs-control"
    needs_control = True


class Noise(Whisper):
    name = "noise"

    def units(self, level: Any) -> list[Unit]:
        return [Unit("a"), Unit("b")]


class Never(Whisper):
    name = "never"

    def units(self, level: Any) -> list[Unit]:
        return []


def models(*names: ModelName) -> AuditModels:
    return AuditModels(dict.fromkeys(names, cast(Any, None)), None, None, {})


def plan(*attacks: Any, available: tuple[ModelName, ...] = ("control", "after")) -> AuditPlan:
    return AuditPlan.of([Plain(), *attacks], audit_context(facts(3)), models(*available), RowsFile(Path("none"), KEYS))


def add(rows: RowsFile, part: Part, *names: ModelName) -> None:
    for name in names:
        made = [row_of(each, hit=True, attack=part.attack.name) for each in facts(3)]
        rows.add(part.attack.name, part.unit, name, made, seconds=2.0)


def test_the_model_before_is_attacked_for_comparison_alone() -> None:
    assert not runs_on(Whisper(), "before", "full")
    assert runs_on(Compared(), "before", "full")
    assert not runs_on(Compared(), "before", "quick")
    assert runs_on(Whisper(), "after", "quick")


def test_what_cannot_be_run_is_named() -> None:
    found = plan(NeedsControl(), Never(), available=("after",))
    assert [part.attack.name for part in found.parts] == ["plain"]
    assert "control" in found.left_out["needs-control"]
    assert "full" in found.left_out["never"]
    assert [part.models for part in plan(Compared(), available=("before", "control", "after")).parts] == [2, 3]


def test_a_unit_counts_once_it_was_run_on_both_models(tmp_path: Path) -> None:
    found, rows = plan(Whisper()), RowsFile(tmp_path, KEYS)
    plain, whisper = found.parts
    add(rows, plain, "control", "after")
    add(rows, whisper, "control")
    assert [attack.name for attack in found.completed(rows)] == ["plain"]
    assert set(found.rows(rows)["after"]) == {"plain"}
    add(rows, whisper, "after")
    assert [attack.name for attack in found.completed(rows)] == ["plain", "whisper"]
    assert found.seconds(rows) == {"plain": 4.0, "whisper": 4.0}


def test_units_and_attacks_that_are_left_out_are_named() -> None:
    found = plan(Whisper())
    found.leave_out([found.parts[1]], "no time")
    assert found.left_out["whisper"] == "no time (plain)"
    assert [part.attack.name for part in found.parts] == ["plain"]
    found = plan(Whisper())
    found.drop(found.parts[1].attack, "too long")
    assert [part.attack.name for part in found.parts] == ["plain"]
    assert found.left_out["whisper"] == "too long"


def test_a_unit_that_applies_to_nothing_is_named(tmp_path: Path) -> None:
    found, rows = plan(Noise()), RowsFile(tmp_path, KEYS)
    plain, first, second = found.parts
    add(rows, plain, "control", "after")
    add(rows, first, "control", "after")
    assert found.without_rows(rows) == {}
    for name in ("control", "after"):
        rows.add("noise", second.unit, name, [], seconds=0.0)
    assert [*found.without_rows(rows)] == ["noise (b)"]


def test_what_was_left_out_earlier_stays_named() -> None:
    found = plan(Noise())
    for part in found.parts[2:0:-1]:
        found.leave_out([part], f"reason {part.unit.variant}")
    assert found.left_out["noise"] == "reason b (b); reason a (a)"


def test_what_was_run_before_an_interruption_takes_no_time(tmp_path: Path) -> None:
    rows = RowsFile(tmp_path, KEYS)
    first = plan(Whisper())
    add(rows, first.parts[1], "control")
    again = AuditPlan.of([Plain(), Whisper()], audit_context(facts(3)), models("control", "after"), rows)
    assert [part.models for part in again.parts] == [2, 1]


def test_a_clock_without_a_limit_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.auditing.attacks_on_model.time", SimpleNamespace(monotonic=lambda: 160.0))
    assert Clock(0.0, None).left is None
    assert Clock(100.0, 3).left == 120
    assert Clock(100.0, 0.5).left == -30
