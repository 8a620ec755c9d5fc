"""`efface.audit`."""

from __future__ import annotations

import importlib
from pathlib import Path

import efface as package
from support.audited import Whisper, hidden, hidden_run, known_and_never, never  # noqa: F401


def test_the_function_is_the_command(hidden_run: Path, never: Path) -> None:  # noqa: F811
    found = package.audit(hidden_run, against=never, plugins=[Whisper], audit={"attacks": "whisper"}, device="cpu")
    assert isinstance(found, package.AuditResults)
    assert list(found.attacks) == ["plain", "whisper"]
    assert found.control is not None


def test_the_name_is_the_package_and_the_function() -> None:
    assert callable(package.audit)
    assert importlib.import_module("efface.auditing.attack").Attack is package.Attack
    assert callable(package.audit)
