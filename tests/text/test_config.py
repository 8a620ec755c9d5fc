"""Settings of the text of questions and answers."""

from __future__ import annotations

import datetime

import pytest

from efface.config.parse import validate_config
from efface.errors import EffaceError
from efface.text.config import FAMILIES, TextConfig
from support.messages import assert_names


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"system": "Be kind.", "format": "llama2"}, ["system", "llama2", "format=chat"]),
        ({"system": " "}, ["system"]),
        ({"date": "today"}, ["date", "today"]),
        ({"boundary": "apart"}, ["boundary", "apart", "joint-counted"]),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings, named):
    with pytest.raises(EffaceError) as raised:
        validate_config(TextConfig, settings)
    assert_names(str(raised.value), *named)


def test_a_date_is_a_day():
    assert validate_config(TextConfig, {"date": "2025-04-10"}).date == datetime.date(2025, 4, 10)


def test_no_date_is_recorded_where_none_is_shown():
    config = TextConfig(max_length=9)
    assert config.recorded(shows_date=False) == {"format": "chat", "max_length": 9, "boundary": "joint"}
    assert config.recorded(shows_date=True)["date"] == "2024-07-26"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_of_models_stands_for_settings(family):
    config = validate_config(TextConfig, {"format": family, "max_length": 9})
    chat = family in ("llama-3", "phi-3.5", "qwen-2.5", "zephyr")
    assert (config.system, config.max_length) == ("You are a helpful assistant." if chat else None, 9)
    assert config.format == {"llama-2-chat": "llama2", "llama-2-base": "plain", "phi-1.5": "plain"}.get(family, "chat")
    assert (config.date == datetime.date(2025, 4, 10)) == (family == "llama-3")


def test_what_is_given_beside_a_family_stays():
    config = validate_config(TextConfig, {"format": "llama-3", "system": "Be kind.", "date": "2026-01-02"})
    assert (config.system, config.date) == ("Be kind.", datetime.date(2026, 1, 2))
    assert TextConfig.model_validate(config.model_dump()) == config
