from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from efface.data.config import SHORTHANDS, DataConfig, FileConfig, expand_data, expand_path, parse_data, request_name
from efface.errors import EffaceError
from support.messages import assert_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tofu-forget01", {"source": "tofu", "split": "forget01"}),
        ("tofu-forget10", {"source": "tofu", "split": "forget10"}),
        ("real-world", {"source": "real-world"}),
        ("synthetic-authors", {"source": "synthetic-authors"}),
    ],
)
def test_shorthands(name: str, expected: dict[str, str]) -> None:
    assert parse_data(name) == DataConfig.model_validate(expected)


def test_an_unknown_shorthand_suggests_the_nearest() -> None:
    with pytest.raises(EffaceError, match=r"unknown data 'tofu-forget1'.*did you mean 'tofu-forget(01|10)'\?"):
        parse_data("tofu-forget1")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"source": "tofu"}, ["source=tofu", "split", "forget01, forget05, forget10"]),
        ({"source": "tofu", "split": "forget10", "task": 10}, ["task=10", "forget10, which has 1 to 9"]),
        (
            {"source": "synthetic-authors", "split": "forget01"},
            ["split=forget01", "source=synthetic-authors", "remove it"],
        ),
        (
            {"source": "synthetic-authors", "authors": 5, "task": 3},
            ["task=3", "5 authors, 2 a task, which has 1 to 2"],
        ),
        ({"source": "real-world", "retain_evaluation": 5}, ["retain_evaluation=5", "source=real-world", "remove it"]),
        ({"source": "tofu", "split": "forget01", "forget": "a"}, ["forget=a", "source=tofu", "remove it"]),
        ({"source": "files", "retain": "b"}, ["source=files", "forget=PATH"]),
        ({"source": "files", "forget": "a", "generic_questions": 9}, ["generic_questions", "retain=model-answers"]),
        (
            {"source": "synthetic-authors", "retain": "model-answers"},
            ["retain=model-answers", "source=synthetic-authors", "remove it"],
        ),
        (
            {"source": "synthetic-authors", "authors": 4, "forget_authors": 4},
            ["forget_authors=4", "authors=4", "lower forget_authors or raise authors"],
        ),
        ({"source": "synthetic-authors", "extra_retain_items": 3}, ["extra_retain_items", "extra_retain: remove it"]),
        (
            {"source": "synthetic-authors", "retain_minus_forget": True},
            ["retain_minus_forget=True", "source=synthetic-authors", "remove it"],
        ),
        (
            {"source": "tofu", "split": "forget01", "task": 2, "forgotten_before": [1, 1]},
            ["task 1 is requested twice", "remove it from forgotten_before"],
        ),
        (
            {"source": "tofu", "split": "forget01", "task": 2, "forgotten_before": [2]},
            ["task 2 is requested twice", "remove it from forgotten_before"],
        ),
        ({"source": "tofu", "split": "forget10", "forgotten_before": [10]}, ["task=10", "which has 1 to 9"]),
        (
            {"source": "tofu", "split": "forget01", "forgotten_before": ["a"]},
            ["forgotten_before=a", "source=tofu", "a list of tasks, such as [1, 2]"],
        ),
        (
            {"source": "files", "forget": "a", "forgotten_before": [1]},
            ["forgotten_before=task 1", "source=files", "a list of files"],
        ),
        ({"source": "files", "forget": "a", "forgotten_before": ["a"]}, ["a is requested twice", "remove it"]),
        ({"source": "real-world", "forgotten_before": [1]}, ["forgotten_before", "source=real-world", "remove it"]),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], named: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig.model_validate(settings)
    [problem] = caught.value.errors()
    assert_names(problem["msg"], *named)


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


def test_settings_are_the_same_after_writing_and_reading() -> None:
    config = parse_data("tofu-forget05")
    assert DataConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(("split", "last"), [("forget01", 10), ("forget05", 10), ("forget10", 9)])
def test_every_task_of_a_split_can_be_chosen(split: str, last: int) -> None:
    assert DataConfig.model_validate({"source": "tofu", "split": split, "task": last}).task == last


@pytest.mark.parametrize(
    ("data", "expanded"),
    [
        ("tofu-forget01", {"source": "tofu", "split": "forget01"}),
        ({"forget": "a.csv"}, {"source": "files", "forget": {"path": "a.csv"}}),
        (
            {"retain": "model-answers", "forget": {"path": "a"}},
            {"source": "files", "retain": "model-answers", "forget": {"path": "a"}},
        ),
        ({"source": "tofu", "forget": "a.csv"}, {"source": "tofu", "forget": {"path": "a.csv"}}),
        ({"authors": 3}, {"authors": 3}),
        (None, None),
    ],
)
def test_short_forms_are_expanded(data: object, expanded: object) -> None:
    assert expand_data(data) == expanded


def test_paths_are_expanded() -> None:
    assert expand_path(Path("a.csv")) == expand_path("a.csv") == {"path": "a.csv"}
    assert [expand_path(value) for value in ("model-answers", 3, None)] == ["model-answers", 3, None]


def test_names_of_requests() -> None:
    assert [request_name(3), request_name(FileConfig(path="a.csv"))] == ["task 3", "a.csv"]


def test_every_shorthand_is_valid() -> None:
    for name, config in SHORTHANDS.items():
        assert DataConfig.model_validate(config.model_dump()) == parse_data(name)
