"""Fixtures of the doctor's tests: a tiny run, and a machine on which nothing stays on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.models import auto_optimizer
from efface.preflight import options
from efface.train.optimizer import optimizer
from support.run_fixtures import model_in, one_thread, settings, source  # noqa: F401


@pytest.fixture
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing may be written to the working directory or stay among temporary files; there are no benchmarks."""
    place, temporary = tmp_path / "place", tmp_path / "temporary"
    for folder in (place, temporary):
        folder.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    assert [*place.iterdir(), *temporary.iterdir()] == []


@pytest.fixture
def adamw8bit_available(monkeypatch: pytest.MonkeyPatch) -> None:
    """8-bit AdamW can be used, whatever is installed."""
    for module in (options, auto_optimizer, optimizer):
        monkeypatch.setattr(module, "adamw8bit_unsupported_reason", lambda device: None)


@pytest.fixture
def config(settings: dict[str, Any]) -> Callable[..., RunConfig]:  # noqa: F811
    """Settings of a run, with changes by dotted key: `config(**{"train.lora": {}})`."""

    def make(**changed: Any) -> RunConfig:
        values = json.loads(json.dumps(settings))
        for key, value in changed.items():
            *groups, name = key.split(".")
            group = values
            for each in groups:
                group = group.setdefault(each, {})
            group[name] = value
        return validate_config(RunConfig, values)

    return make
