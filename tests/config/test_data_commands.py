"""The configs of `efface data`: short forms and defaults."""

from __future__ import annotations

from typing import Any

import pytest

from efface.config.data_commands import AnswersConfig, DataInspectionConfig, ProbeConfig
from efface.config.parse import validate_config
from efface.data.config import DataConfig, FileConfig


def test_data_may_be_a_name() -> None:
    assert validate_config(DataInspectionConfig, {"data": "tofu-forget01"}).data == DataConfig(
        source="tofu", split="forget01"
    )


@pytest.mark.parametrize("config_class", [AnswersConfig, ProbeConfig])
def test_questions_may_be_a_path(config_class: Any) -> None:
    assert validate_config(config_class, {"model": "m", "questions": "q.csv"}).questions == FileConfig(path="q.csv")


def test_answers_of_a_probe_are_shorter() -> None:
    probe = validate_config(ProbeConfig, {"model": "m"})
    answers = validate_config(AnswersConfig, {"model": "m", "questions": "q.csv"})
    assert (probe.evaluate.max_new_tokens, answers.evaluate.max_new_tokens) == (64, 200)
    assert probe.questions is None
