"""Where the data of a task come from, and what is said where they are nowhere."""

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
    """Gives a task where the network may be used, or never."""

    def __init__(self, error: Exception, *, online: bool):
        self.error, self.online, self.asked = error, online, []

    def load(self, names):
        offline = constants.HF_HUB_OFFLINE
        assert offline == datasets.config.HF_HUB_OFFLINE
        self.asked.append("cache" if offline else "hub")
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


def test_the_hub_is_asked_where_the_cache_has_nothing(hub_that):
    hub_that(None)
    manager = Manager(ConnectionError("offline"), online=True)
    assert load_task(manager, "arc") == {"tasks": {"arc": None}}
    assert manager.asked == ["cache", "hub"]


def test_a_hub_that_does_not_answer_is_not_asked(hub_that):
    hub_that("the hub cannot be reached (ConnectError)")
    manager = Manager(ConnectionError("offline"), online=True)
    assert refused(manager) == (
        "task arc: its data set is not on this machine (the hub cannot be reached (ConnectError)); go to where the hub "
        "can be reached, or copy the cache of `datasets` from there and set HF_DATASETS_OFFLINE=1, or name tasks with "
        "data of your own, in downstream.include=FOLDER"
    )
    assert manager.asked == ["cache"]


def test_a_hub_that_breaks_off(hub_that):
    hub_that(None)
    sentence = refused(Manager(ConnectionError("Couldn't reach 'a' on the Hub"), online=False))
    assert sentence.startswith("task arc: its data set is not on this machine (ConnectionError: Couldn't reach 'a' on")


@pytest.mark.parametrize("answer", [None, "the hub cannot be reached (ConnectError)"])
def test_a_task_that_is_wrong(hub_that, answer):
    hub_that(answer)
    assert refused(Manager(KeyError("question"), online=False)) == (
        "task arc does not load (KeyError: 'question'); look at its file and its data"
    )


def test_a_task_of_the_library_without_a_network(model, tokenizer, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(EffaceError, match=r"task arc_easy: its data set is not .* \(HF_HUB_OFFLINE keeps efface from"):
        score_downstream(model, tokenizer, DownstreamConfig(tasks=("arc_easy",)), seed=0)


def test_data_that_are_gone(model, tokenizer, tmp_path, local_tasks):
    text = (local_tasks / "local_arc.yaml").read_text().replace("local_arc.test", "gone")
    (tmp_path / "mine.yaml").write_text(text)
    config = DownstreamConfig(tasks=("local_arc",), include=str(tmp_path))
    with pytest.raises(EffaceError, match=r"task local_arc does not load \(FileNotFoundError: .*gone\.jsonl"):
        score_downstream(model, tokenizer, config, seed=0)
