"""Continual unlearning: which requests are refused, and what data each request has."""

from __future__ import annotations

from typing import Any

import pytest

from efface.config.commands import RunConfig
from efface.config.continual import ContinualConfig, request_data, with_first_request
from efface.config.parse import read_yaml, to_yaml, validate_config
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


def test_the_retain_file_may_contain_the_forget_files() -> None:
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
    ("data", "requests", "named"),
    [
        (TOFU, [1, 2, 1], ["continual.requests: task 1", "listed twice; remove one"]),
        (TOFU, [1, 3], ["continual.requests: task 3", "task 2 is not; leave no task out"]),
        (TOFU, [2, 3], ["continual.requests: task 3", "task 1 is not; leave no task out"]),
        (TOFU, [0, 1], ["continual.requests: there is no task 0", "counted from 1"]),
        (TOFU, [*range(1, 12)], ["continual.requests: task=11", "forget01", "1 to 10"]),
        ({**TOFU, "split": "forget10"}, [*range(1, 11)], ["continual.requests: task=10", "forget10", "1 to 9"]),
        ({**TOFU, "task": 2}, [1, 2], ["data.task and continual.requests", "leave out data.task"]),
        ({**TOFU, "forgotten_before": [2]}, [1], ["data.forgotten_before", "continual.requests"]),
        (TOFU, ["one.csv"], ["data: forget=one.csv", "source=tofu"]),
        ({"source": "synthetic-authors"}, [*range(1, 12)], ["continual.requests: task=11", "20 authors"]),
        ("real-world", [1, 2], ["continual.requests: task=2", "source=real-world"]),
        (FILES, ["a.csv", "a.csv"], ["continual.requests: a.csv", "listed twice; remove one"]),
        (FILES, ["a.csv", 2], ["continual.requests", "task numbers and files"]),
        (FILES, [], ["continual.requests=[]", "at least 1 item"]),
        ({**FILES, "forget": "b.csv"}, ["a.csv"], ["data.forget and continual.requests", "leave out data.forget"]),
        ({**FILES, "forget": {"pth": "a.csv"}}, ["a.csv"], ["data.forget and continual.requests"]),
    ],
)
def test_refused_requests(data: Any, requests: list[Any], named: list[str]) -> None:
    with pytest.raises(EffaceError) as refused:
        queue(data, requests)
    assert all(part in str(refused.value) for part in named)
    assert "\n" not in str(refused.value)


def test_unknown_references() -> None:
    with pytest.raises(EffaceError, match=r"continual\.reference='frist': input should be 'previous' or 'first'"):
        queue(TOFU, [1], reference="frist")


@pytest.mark.parametrize(
    ("data", "requests", "filled_in"),
    [
        ({"split": "forget01"}, [2, 1], {"split": "forget01", "task": 2}),
        (FILES, ["a.csv"], {**FILES, "source": "files", "retain_minus_forget": True}),
        (
            {**FILES, "retain_minus_forget": False},
            ["a.csv"],
            {**FILES, "source": "files", "retain_minus_forget": False},
        ),
    ],
)
def test_the_first_request_is_filled_in(data: Any, requests: list[Any], filled_in: Any) -> None:
    result = with_first_request(data, ContinualConfig(requests=requests).requests)
    assert {key: value for key, value in result.items() if key != "forget"} == filled_in
    assert ("forget" in result) == ("retain" in data)


@pytest.mark.parametrize(("data", "requests"), [(TOFU, [2, 1]), (FILES, ["one.csv", "two.csv"]), (FILES, ["one.csv"])])
def test_settings_are_read_back_from_their_file(tmp_path: Any, data: Any, requests: list[Any]) -> None:
    config = queue(data, requests)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert validate_config(RunConfig, read_yaml(tmp_path / "config.yaml")) == config
