"""Queues of two files, and fixtures of tests that run on a tiny model."""

from __future__ import annotations

import pytest

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual.queue import run_queue
from efface.errors import EffaceError
from support.queues import CASES, facts, write
from support.run_fixtures import (  # noqa: F401
    made,
    model_in,
    one_thread,
    queue_settings,
    settings,
    source,
)


@pytest.fixture(scope="module")
def queues(queue_settings, tmp_path_factory):  # noqa: F811
    """The finished queue of a case: its settings, folder and results; not to be changed."""
    finished = {}

    def make(case):
        if case not in finished:
            values = validate_config(RunConfig, merge_settings(queue_settings, CASES[case]))
            out = tmp_path_factory.mktemp("queue") / "all"
            finished[case] = values, out, run_queue(values, out)
        return finished[case]

    return make


@pytest.fixture(scope="module")
def complete(queues):
    """The queue of three requests."""
    return queues("previous")


@pytest.fixture
def config(queue_settings):  # noqa: F811
    """The settings of a queue of tasks, with some changed."""

    def make(**changes):
        return validate_config(RunConfig, merge_settings(queue_settings, {"method": "npo+gd", **changes}))

    return make


@pytest.fixture
def files(queue_settings, tmp_path):  # noqa: F811
    """The settings of a queue of two files with four questions each; the retain file has twelve, these among them."""
    retain = write(tmp_path / "keep.jsonl", facts(*range(12)))
    forget = [write(tmp_path / f"gone{n}.jsonl", facts(*range(4 * n, 4 * n + 4))) for n in (0, 1)]

    def make(*requests, **changes):
        values = {
            **queue_settings,
            "method": "me+gd",
            "data": {"retain": retain},
            "train": {"epochs": 1, "batch_size": 4},
            "continual": {"requests": [*forget, *requests]},
        }
        return validate_config(RunConfig, merge_settings(values, changes))

    return make


@pytest.fixture
def refused(tmp_path):
    """Run a queue that must be refused, in `tmp_path`/all, where nothing may change; returns the message."""

    def everything():
        return {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}

    def refuse(config, **arguments):
        before = everything()
        with pytest.raises(EffaceError) as raised:
            run_queue(config, tmp_path / "all", **arguments)
        assert everything() == before
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return refuse
