"""Tasks of lm-evaluation-harness without a network."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "local_tasks.py"
_LIBRARY_FOLDERS = ("arc", "gsm8k", "mmlu/default", "squadv2", "triviaqa", "truthfulqa")
LOCAL = ("local_arc", "local_truthfulqa", "local_mmlu", "local_triviaqa", "local_gsm8k")


def write_tasks(folder: Path) -> Path:
    """What the script writes."""
    runpy.run_path(str(SCRIPT))["main"](folder)
    return folder


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Data sets are cached there, and not in the user's folder."""
    from datasets import config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "HF_DATASETS_CACHE", folder)
        yield


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some tasks of the library, copied: it reads fourteen thousand files to find all of them."""
    import lm_eval.tasks

    folder = tmp_path_factory.mktemp("library")
    for name in _LIBRARY_FOLDERS:
        shutil.copytree(Path(lm_eval.tasks.__file__).parent / name, folder / name)
    return folder


@pytest.fixture
def few_library_tasks(library_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library has the tasks of `library_folder` alone."""
    import lm_eval.tasks.manager

    from efface.downstream import tasks

    monkeypatch.setattr(lm_eval.tasks.manager, "__file__", str(library_folder / "manager.py"))
    found = (tasks._built_in, tasks._with_custom)
    for each in found:
        each.cache_clear()
    yield
    for each in found:
        each.cache_clear()
