"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with benchmark data and outside numbers (`EFFACE_SHARED`, default ../shared)."""
    root = Path(__file__).parent.parent
    folder = Path(os.environ.get("EFFACE_SHARED", root.parent / "shared"))
    if folder.is_dir():
        return folder
    message = f"{folder} is not there: set EFFACE_SHARED to the folder with data/ and golden/"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
