"""Fixtures of the tests of an audit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support import audited
from support.run_fixtures import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def known_and_never(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that knows the towers and one that never saw those of the forget set."""
    return audited.models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, known_and_never: tuple[Path, Path]) -> Path:
    """A finished run that hides what it should forget; not to be changed."""
    return audited.make_run(tmp_path_factory.mktemp("finished"), known_and_never[0])


@pytest.fixture
def hidden_run(tmp_path: Path, finished: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def never(known_and_never: tuple[Path, Path]) -> Path:
    """The model that never saw the towers of the forget set."""
    return known_and_never[1]
