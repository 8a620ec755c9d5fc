"""A queue's folder: what may be resumed in it."""

from __future__ import annotations

import pytest

from efface.continual.folder import QueueFolder
from efface.continual.queue import append_request, run_queue
from efface.errors import EffaceError


def test_a_folder_without_a_queue(config, tmp_path):
    for settings in (None, "model: a\nwithout: null\n"):
        if settings is not None:
            (tmp_path / "config.yaml").write_text(settings)
        with pytest.raises(EffaceError, match=r"contains no queue of requests; .* continual\.requests"):
            append_request(tmp_path, 1)


def test_other_settings_and_fewer_requests_are_no_resumption(config, refused, tmp_path):
    two = {"requests": [1, 2]}
    run_queue(config(continual=two), tmp_path / "all")
    assert "already contains a run; continue it with --resume" in refused(config(continual=two))
    for changes in (
        {"seed": 1, "continual": two},
        {"continual": {"requests": [1]}},
        {"continual": {"requests": [2, 1]}},
        {"continual": {"requests": [1, 2, 3], "reference": "first"}},
        {"continual": {"requests": [1, 2, 3]}, "train": {"lr": 1e-2}},
    ):
        assert "has other settings than these" in refused(config(**changes), resume=True)


def test_a_dropped_model_takes_along_the_next_adapter_that_is_for_it(tmp_path):
    folder = QueueFolder(tmp_path)
    for number in (1, 2):
        for path in (folder.request(number).model, folder.request(number).adapter):
            path.mkdir(parents=True)

    def left():
        return sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "requests").glob("*/*"))

    folder.drop_model(1, next_adapter=False)
    assert left() == ["requests/02/adapter", "requests/02/model"]
    folder.drop_model(1, next_adapter=True)
    assert left() == ["requests/02/model"]
