"""Lengths in tokens are those of a run: prompt, answer and what the format adds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.models.load import load_tokenizer
from efface.preflight.token_lengths import token_lengths
from efface.schema import Item
from efface.text.formatter import PromptFormatter, TextConfig

MODEL = Path(__file__).parents[1] / "golden" / "model"
ITEMS = [Item(id=f"{n}", question="Where is it?", answer="Here " * n) for n in (1, 30, 600)]
PLAIN = TextConfig(format="plain")


def test_tokens_are_those_of_training() -> None:
    encoded = PromptFormatter(load_tokenizer(MODEL), PLAIN).encode(
        [(each.id, each.prompt, each.answer) for each in ITEMS]
    )
    found = token_lengths(str(MODEL), PLAIN)(ITEMS)
    assert (found.unit, found.minimum, found.maximum) == ("tokens", len(encoded[0]), len(encoded[2]))
    positions = json.loads((MODEL / "config.json").read_text())["max_position_embeddings"]
    assert (found.limit, found.beyond_limit) == (positions, 1)


def test_limit_of_the_settings_counts_too() -> None:
    found = token_lengths(str(MODEL), TextConfig(format="plain", max_length=40))(ITEMS)
    assert (found.limit, found.beyond_limit) == (40, 2)


def test_model_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match="there is no folder"):
        token_lengths("./nowhere", PLAIN)
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(EffaceError, match="that does not load"):
        token_lengths(str(tmp_path), PLAIN)
