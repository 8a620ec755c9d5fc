"""Data sets come from the cache, else from the hub, and are refused if they are in neither."""

from __future__ import annotations

import datasets
import pytest
from huggingface_hub import constants

from efface.downstream import load_data
from efface.downstream.config import DownstreamConfig
from efface.downstream.harness import score_downstream
from efface.downstream.load_data import load_task
from efface.errors import EffaceError


class Manager:
    """Loads a task if the network may be used, or never."""

    def __init__(self, error: Exception, *, online: bool):
        self.error, self.online, self.tried = error, online, []

    def load(self, names):
        offline = constants.HF_HUB_OFFLINE
        assert offline == datasets.config.HF_HUB_OFFLINE
        self.tried.append("cache" if offline else "hub")
        if self.online and not offline:
            return {"tasks": {names[0]: None}}
        raise self.error


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


@pytest.fixture
def hub_that(monkeypatch):
    return lambda answer: monkeypatch.setattr(load_data, "why_unreachable", lambda: answer)


def refused(manager: Manager) -> str:
    with pytest.raises(EffaceError) as raised:
        load_task(manager, "arc")
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE
    return str(raised.value)


def test_the_hub_is_used_if_the_cache_has_no_data(hub_that):
    hub_that(None)
    manager = Manager(ConnectionError("offline"), online=True)
    assert load_task(manager, "arc") == {"tasks": {"arc": None}}
    assert manager.tried == ["cache", "hub"]


@pytest.mark.parametrize(
    ("unreachable", "error", "online", "named"),
    [
        (
            "the hub cannot be reached (ConnectError)",
            ConnectionError("offline"),
            True,
            [
                "not on this machine",
                "the hub cannot be reached (ConnectError)",
                "HF_DATASETS_OFFLINE=1",
                "downstream.include",
            ],
        ),
        (
            None,
            ConnectionError("Couldn't reach 'a' on the Hub"),
            False,
            ["not on this machine", "Couldn't reach 'a' on"],
        ),
        (None, KeyError("question"), False, ["does not load", "KeyError: 'question'"]),
        (
            "the hub cannot be reached (ConnectError)",
            KeyError("question"),
            False,
            ["does not load", "KeyError: 'question'"],
        ),
    ],
)
def test_data_that_are_not_available_are_refused(hub_that, unreachable, error, online, named):
    hub_that(unreachable)
    manager = Manager(error, online=online)
    message = refused(manager)
    assert all(part in message for part in ["task arc", *named])
    assert manager.tried == (["cache", "hub"] if unreachable is None else ["cache"])


@pytest.mark.usefixtures("few_library_tasks")
def test_a_task_of_the_library_without_a_network(model, tokenizer, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(EffaceError, match=r"task arc_easy: its data set is not .* \(HF_HUB_OFFLINE keeps efface from"):
        score_downstream(model, tokenizer, DownstreamConfig(tasks=("arc_easy",)), seed=0)


def test_local_data_that_do_not_exist_are_refused(model, tokenizer, tmp_path, local_tasks):
    text = (local_tasks / "local_arc.yaml").read_text().replace("local_arc.test", "gone")
    (tmp_path / "mine.yaml").write_text(text)
    config = DownstreamConfig(tasks=("local_arc",), include=str(tmp_path))
    with pytest.raises(EffaceError, match=r"task local_arc does not load \(FileNotFoundError: .*gone\.jsonl"):
        score_downstream(model, tokenizer, config, seed=0)
