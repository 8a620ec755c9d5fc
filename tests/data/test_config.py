"""Settings of the data: what is refused, and in which words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.data import DataConfig, parse_data
from efface.errors import EffaceError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tofu-forget01", {"source": "tofu", "split": "forget01"}),
        ("tofu-forget10", {"source": "tofu", "split": "forget10"}),
        ("real-world", {"source": "real-world"}),
        ("synthetic-authors", {"source": "synthetic-authors"}),
    ],
)
def test_a_shorthand_stands_for_settings(name: str, expected: dict[str, str]) -> None:
    assert parse_data(name) == DataConfig.model_validate(expected)


def test_an_unknown_shorthand_names_the_nearest() -> None:
    with pytest.raises(EffaceError, match=r"unknown data 'tofu-forget1'.*did you mean 'tofu-forget(01|10)'\?"):
        parse_data("tofu-forget1")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"source": "tofu"}, "source=tofu needs a split, one of forget01, forget05, forget10"),
        ({"source": "tofu", "split": "forget10", "task": 10}, "task=10 is not in forget10, which has 1 to 9"),
        (
            {"source": "synthetic-authors", "split": "forget01"},
            "split=forget01 means nothing for source=synthetic-authors",
        ),
        ({"source": "real-world", "retain_evaluation": 5}, "retain_evaluation=5 means nothing for source=real-world"),
        ({"source": "tofu", "split": "forget01", "forget": "a"}, "forget=a means nothing for source=tofu"),
        ({"source": "files", "retain": "b"}, "source=files needs forget=PATH"),
        (
            {"source": "files", "forget": "a", "generic_questions": 9},
            "generic_questions means nothing without retain",
        ),
        (
            {"source": "synthetic-authors", "retain": "model-answers"},
            "retain=model-answers means nothing for source=synthetic-authors",
        ),
        (
            {"source": "synthetic-authors", "authors": 4, "forget_authors": 4},
            "forget_authors=4 of authors=4 leaves nobody",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig.model_validate(settings)
    [problem] = caught.value.errors()
    assert sentence in problem["msg"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"source": "tofu", "split": "forget02"},
        {"source": "synthetic-authors", "authors": 0},
        {"source": "synthetic-authors", "forget_authors": 0},
        {"source": "synthetic-authors", "retain_evaluation": 0},
        {"source": "synthetic-authors", "author": 3},
    ],
)
def test_bad_values_and_keys_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DataConfig.model_validate(settings)


def test_settings_survive_being_written_and_read() -> None:
    config = parse_data("tofu-forget05")
    assert DataConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(("split", "last"), [("forget01", 10), ("forget05", 10), ("forget10", 9)])
def test_every_task_of_a_split_can_be_chosen(split: str, last: int) -> None:
    assert DataConfig.model_validate({"source": "tofu", "split": split, "task": last}).task == last
