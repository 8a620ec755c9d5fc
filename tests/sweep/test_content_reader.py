from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from efface.config.commands import FinetuneConfig, RunConfig
from efface.models.folder import model_sha256
from efface.models.tokenizer import tokenizer_sha256
from efface.sweep import content_reader
from efface.sweep.content_reader import ContentReader


def test_models_and_tasks_are_read_once(settings: dict[str, Any], base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig.model_validate(settings)
    expected = model_sha256(base)
    reader = ContentReader(None)
    contents = reader.contents(config)
    assert contents.model == expected
    assert contents.data == dict(reader.task(config.data).sources)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(content_reader, "load_task", refuse)
    monkeypatch.setattr(content_reader, "model_sha256", refuse)
    assert reader.contents(config) == contents


def test_a_reference_model_and_one_that_does_not_exist_yet(settings: dict[str, Any], base: Path) -> None:
    config = RunConfig.model_validate({**settings, "method": "npo+gd", "reference": str(base), "model": "to/come"})
    contents = ContentReader(None).contents(config, model="preliminary")
    assert (contents.model, contents.reference) == ("preliminary", model_sha256(base))


def test_a_named_tokenizer(settings: dict[str, Any], base: Path) -> None:
    contents = ContentReader(None).contents(RunConfig.model_validate({**settings, "tokenizer": str(base)}))
    assert contents.tokenizer == tokenizer_sha256(base)
    assert ContentReader(None).contents(RunConfig.model_validate(settings)).tokenizer is None


def test_the_data_of_a_queue_are_those_of_all_requests(settings: dict[str, Any]) -> None:
    data = {**settings["data"], "authors": 4}
    reader = ContentReader(None)
    queue = RunConfig.model_validate({**settings, "data": data, "continual": {"requests": [1, 2]}})
    assert len(reader.tasks(queue)) == 2
    target = FinetuneConfig.model_validate({"model": settings["model"], "data": data})
    assert reader.contents(target).reference is None
