"""Folders that take long to build: each is built once, by the first worker that needs it, and read by all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

BuildOnce = Callable[[str, Callable[[Path], object]], Path]
"""The name of a folder, and a function that fills it -> the folder, which no test may change."""


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Folders of this session by name."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built-once"
    root.mkdir(exist_ok=True)

    def folder(name: str, build: Callable[[Path], object]) -> Path:
        path, complete = root / name, root / f"{name}.complete"
        with FileLock(root / f"{name}.lock"):
            if not complete.exists():
                path.mkdir()  # fails if it failed before: then so do all tests that need it
                build(path)
                complete.touch()
        return path

    return folder
