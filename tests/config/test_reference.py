"""The reference of settings: none lacks a sentence, and people find them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, Field

from efface.config.commands import RunConfig
from efface.config.parse import dotted_keys
from efface.config.reference import COMMANDS, UNITS, Setting, field_docs, settings
from efface.config.search_words import SEARCH_WORDS


def found() -> dict[str, Setting]:
    return {each.key: each for each in settings(RunConfig)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_has_a_sentence(command: str) -> None:
    listed = list(settings(COMMANDS[command]))
    assert [each.key for each in listed if not each.sentence.endswith((".", ").", "`."))] == []
    assert all(each.allowed and each.default for each in listed)


def test_every_key_of_a_run_is_listed() -> None:
    files = tuple(f"data.{name}." for name in ("retain", "extra_retain", "holdout", "few_shot"))  # as data.forget
    assert set(found()) == {key for key in dotted_keys(RunConfig) if not key.startswith(files)}


def test_limits_defaults_and_units() -> None:
    lr, retain, lora = found()["train.lr"], found()["data.retain"], found()["train.lora"]
    assert (lr.allowed, lr.default, lr.group) == ("number, more than 0, at most 1e+30", "`1e-05`", "train")
    assert retain.allowed == "a path or `model-answers` or `null`"
    assert lora.default == "`null`"
    assert found()["train.save_minutes"].unit == "minutes"
    assert found()["model"].default == "required"
    assert found()["seed"].group == ""


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("wandb", "train.tracker"),
        ("learning rate", "train.lr"),
        ("per_device_train_batch_size", "train.batch_size"),
        ("qlora", "train.lora.bits"),
        ("chat template", "text.format"),
        ("few-shot", "downstream.num_fewshot"),
    ],
)
def test_words_of_other_libraries_lead_to_a_setting(word: str, key: str) -> None:
    assert word in found()[key].words


def test_words_and_units_are_of_settings_that_exist() -> None:
    assert set(SEARCH_WORDS) <= set(found())
    names = {each.key.rpartition(".")[2] for config in COMMANDS.values() for each in settings(config)}
    assert set(UNITS) <= names


class _Base(BaseModel):
    size: int = 1
    """Of the base."""


class _Child(_Base):
    size: int = Field(default=2, ge=1)
    """Of the
    child."""
    bare: int = 0


def test_docstrings_of_the_class_and_of_its_bases() -> None:
    assert field_docs(_Child) == {"size": "Of the child."}
    listed: Iterator[Setting] = settings(_Child, "a.")
    assert [(each.key, each.sentence) for each in listed] == [("a.size", "Of the child."), ("a.bare", "")]
