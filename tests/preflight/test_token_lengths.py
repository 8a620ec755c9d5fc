"""Lengths in tokens are those of a run: prompt, answer and what the format adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efface.config.data_commands import DataInspectionConfig
from efface.config.parse import merge_settings, validate_config
from efface.data import load_task
from efface.errors import EffaceError
from efface.models.tokenizer import load_tokenizer
from efface.preflight.token_lengths import check_tokens, token_lengths
from efface.schema import Item
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from support.messages import assert_names

MODEL = Path(__file__).parents[1] / "golden" / "model"
ITEMS = [Item(id=f"{n}", question="Where is it?", answer="Here " * n) for n in (1, 30, 600)]
PLAIN = TextConfig(format="plain")


def inspection(**changes: Any) -> DataInspectionConfig:
    settings = {
        "data": "synthetic-authors",
        "model": str(MODEL),
        "text": {"format": "plain"},
        "evaluate": {"limit": 2},
    }
    return validate_config(DataInspectionConfig, merge_settings(settings, changes))


def test_tokens_are_those_of_training() -> None:
    encoded = PromptFormatter(load_tokenizer(MODEL), PLAIN).encode(
        [(each.id, each.prompt, each.answer) for each in ITEMS]
    )
    found = token_lengths(inspection())(ITEMS)
    assert (found.unit, found.minimum, found.maximum) == ("tokens", len(encoded[0]), len(encoded[2]))
    positions = json.loads((MODEL / "config.json").read_text())["max_position_embeddings"]
    assert (found.limit, found.beyond_limit) == (positions, 1)


def test_limit_of_the_settings_counts_too() -> None:
    found = token_lengths(inspection(text={"max_length": 40}))(ITEMS)
    assert (found.limit, found.beyond_limit) == (40, 2)


@pytest.mark.parametrize(
    ("config", "named"),
    [(None, "there is no folder"), ('{"model_type": "unheard-of"}', "does not load")],
)
def test_a_model_that_cannot_be_read(tmp_path: Path, config: str | None, named: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
        (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(EffaceError, match=named):
        token_lengths(inspection(model=str(tmp_path if config else tmp_path / "nowhere")))


def test_what_a_run_can_read_is_accepted() -> None:
    assert check_tokens(load_task(inspection().data, data_dir=None), inspection()) == []


def test_what_a_run_would_refuse_is_refused() -> None:
    task = load_task(inspection().data, data_dir=None)
    with pytest.raises(EffaceError, match=r"evaluate\.max_new_tokens"):
        check_tokens(task, inspection(evaluate={"max_new_tokens": 500}))
    long = Item(id="long", question="Where is it?", answer="Here " * 600)
    with pytest.raises(EffaceError, match="long"):
        check_tokens(task.model_copy(update={"retain": (*task.retain, long)}), inspection())


def test_a_tokenizer_alone_has_no_limit() -> None:
    alone = inspection(model=None, tokenizer=str(MODEL))
    found = token_lengths(alone)(ITEMS)
    assert (found.maximum, found.limit) == (token_lengths(inspection())(ITEMS).maximum, None)
    task = load_task(alone.data, data_dir=None)
    assert check_tokens(task, alone) == []
    shared = task.forget[0].model_copy(update={"answer": "he author."})
    config = inspection(model=None, tokenizer=str(MODEL), text={"format": "{question} t{answer}"})
    [warning] = check_tokens(task.model_copy(update={"forget": (shared,), "retain": ()}), config)
    assert_names(warning, "training", "1 of 1 answers", "text.boundary")
