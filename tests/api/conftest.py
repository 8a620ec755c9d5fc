"""Fixtures of the tests of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.library import MODEL


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; folders for runs without `out` are made in another."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return place


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    """A model and its tokenizer as objects, in a dtype of their own."""
    return AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16), AutoTokenizer.from_pretrained(MODEL)
