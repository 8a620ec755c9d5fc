"""`efface demo`: its options."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def test_options(efface: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr("efface.demo.run_demo", lambda out, seed: calls.append((out, seed)))
    assert efface("demo").returncode == 0
    assert efface("demo", "--seed", "3", "--out", "third").returncode == 0
    assert calls == [(Path("runs/demo"), 0), (Path("third"), 3)]
    ran = efface("demo", "--seed", "-1")
    assert ran.returncode == 2
    assert "--seed" in ran.stderr
