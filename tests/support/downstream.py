"""Tasks of lm-evaluation-harness without a network."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "local_tasks.py"
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
