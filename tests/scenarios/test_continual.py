"""Queues of requests: which are refused, and what data each request has."""

from __future__ import annotations

from typing import Any

import pytest

from efface.config.commands import RunConfig
from efface.config.continual import ContinualConfig, request_data
from efface.config.parse import read_yaml, to_yaml, validate_config
from efface.config.presets import preset_names, resolved, run_config
from efface.data.config import DataConfig, FileConfig
from efface.errors import EffaceError

TOFU = {"source": "tofu", "split": "forget01"}
FILES = {"retain": "keep.csv"}


def queue(data: Any, requests: Any, **settings: Any) -> RunConfig:
    values = {"model": "a", "method": "me+gd", "data": data, "continual": {"requests": requests, **settings}}
    return validate_config(RunConfig, values)


def test_tasks_may_come_in_any_order() -> None:
    config = queue("tofu-forget01", [2, 3, 1])
    assert config.data.task == 2
    assert [(each.task, each.forgotten_before) for each in request_data(config.data, config.continual.requests)] == [
        (2, ()),
        (3, (2,)),
        (1, (2, 3)),
    ]


def test_files_are_kept_the_rest_of() -> None:
    config = queue(FILES, ["one.csv", {"path": "two.csv", "columns": {"answer": "said"}}])
    one, two = FileConfig(path="one.csv"), FileConfig(path="two.csv", columns={"answer": "said"})
    assert config.continual.requests == (one, two)
    assert (config.data.source, config.data.forget, config.data.retain_minus_forget) == ("files", one, True)
    data = request_data(config.data, config.continual.requests)
    assert [(each.forget, each.forgotten_before) for each in data] == [(one, ()), (two, (one,))]
    assert {(each.retain, each.retain_minus_forget) for each in data} == {(FileConfig(path="keep.csv"), True)}
    assert not queue({**FILES, "retain_minus_forget": False}, ["one.csv"]).data.retain_minus_forget


def test_everything_else_is_the_same_for_all_requests() -> None:
    data = DataConfig(**TOFU, retain_items=7, retain_evaluation=5, extra_retain="more.jsonl", extra_retain_items=3)
    for each in request_data(data, (1, 2, 3)):
        assert each.model_dump(exclude={"task", "forgotten_before"}) == data.model_dump(
            exclude={"task", "forgotten_before"}
        )


@pytest.mark.parametrize(
    ("data", "requests", "message"),
    [
        (TOFU, [1, 2, 1], "continual.requests: task 1 is asked to be forgotten twice; remove one"),
        (TOFU, [1, 3], "continual.requests: task 3 is there and task 2 is not; leave no task out"),
        (TOFU, [2, 3], "continual.requests: task 3 is there and task 1 is not; leave no task out"),
        (TOFU, [0, 1], "continual.requests: there is no task 0; tasks are counted from 1"),
        (TOFU, [*range(1, 12)], "continual.requests: task=11 is not in forget01, which has 1 to 10"),
        ({**TOFU, "split": "forget10"}, [*range(1, 11)], "continual.requests: task=10 is not in forget10, which has 1"),
        ({**TOFU, "task": 2}, [1, 2], "data.task and continual.requests name two different first requests; leave out"),
        (
            {**TOFU, "forgotten_before": [2]},
            [1],
            "data.forgotten_before means nothing beside continual.requests; put them all into",
        ),
        (TOFU, ["one.csv"], "data: forget=one.csv means nothing for source=tofu: remove it"),
        (
            {"source": "synthetic-authors"},
            [*range(1, 12)],
            "continual.requests: task=11 is not in 20 authors, 2 a task",
        ),
        ("real-world", [1, 2], "continual.requests: task=2 means nothing for source=real-world"),
        (FILES, ["a.csv", "a.csv"], "continual.requests: a.csv is asked to be forgotten twice; remove one"),
        (FILES, ["a.csv", 2], "continual.requests: numbers of tasks and files do not go together; give one or"),
        (FILES, [], "continual.requests=[]: tuple should have at least 1 item"),
        ({**FILES, "forget": "b.csv"}, ["a.csv"], "data.forget and continual.requests name two different first"),
        ({**FILES, "forget": {"pth": "a.csv"}}, ["a.csv"], "data.forget and continual.requests name two different"),
    ],
)
def test_refused_with_the_settings(data: Any, requests: list[Any], message: str) -> None:
    with pytest.raises(EffaceError) as raised:
        queue(data, requests)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_another_reference_goes_into_the_queue() -> None:
    with pytest.raises(EffaceError, match=r"reference means nothing beside continual; set continual\.reference"):
        validate_config(RunConfig, {**queue(TOFU, [1]).model_dump(), "reference": "b"})
    with pytest.raises(EffaceError, match=r"continual\.reference='frist': input should be 'previous' or 'first'"):
        queue(TOFU, [1], reference="frist")


@pytest.mark.parametrize(("data", "requests"), [(TOFU, [2, 1]), (FILES, ["one.csv", "two.csv"]), (FILES, ["one.csv"])])
def test_settings_come_back_from_their_file(tmp_path: Any, data: Any, requests: list[Any]) -> None:
    config = queue(data, requests)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert validate_config(RunConfig, read_yaml(tmp_path / "config.yaml")) == config


@pytest.mark.parametrize(("split", "tasks"), [("forget01", 10), ("forget05", 10), ("forget10", 9)])
def test_presets_hold_every_task(split: str, tasks: int) -> None:
    name = f"tofu-continual-{split}"
    assert name in preset_names()
    config = run_config(name, ["model=a", "method=me+gd"])
    assert config.continual == ContinualConfig(requests=tuple(range(1, tasks + 1)))
    single = run_config(f"tofu-{split}", ["model=a", "method=me+gd"])
    assert config.model_copy(update={"continual": None}) == single
    assert f"split: {split}" in resolved(name, [])
