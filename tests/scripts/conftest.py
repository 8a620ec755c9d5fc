"""The local tasks, as tests/downstream has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.downstream import cache_in, write_tasks


@pytest.fixture(scope="session")
def local_tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the local tasks; not to be changed."""
    with cache_in(tmp_path_factory.mktemp("data-sets")):
        yield write_tasks(tmp_path_factory.mktemp("tasks"))
