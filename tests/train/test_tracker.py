"""Trackers of accelerate get the settings and the values of each step."""

from __future__ import annotations

import os

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from efface import distributed
from efface.errors import EffaceError
from efface.files.permissions import readable
from efface.train.config import TrainConfig
from efface.train.loop import Trainer
from efface.train.tracker import check_tracker, tracking
from support.training import LORA, TRAIN

TENSORBOARD = TRAIN.model_copy(update={"tracker": "tensorboard", "lora": LORA})


def test_a_training_writes_scalars_and_settings(train, tmp_path):
    _, _, logs = train(TENSORBOARD)
    events = EventAccumulator(str(tmp_path / "tracker" / "efface"))
    events.Reload()
    assert {"loss", "forget", "retain", "grad_norm", "lr", "tokens", "seconds"} <= set(events.Tags()["scalars"])
    for name in ("loss", "forget", "retain", "grad_norm", "lr", "tokens"):
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == [1, 2, 3, 4, 5, 6]
        assert [scalar.value for scalar in scalars] == pytest.approx([getattr(log, name) for log in logs])
    [settings] = (tmp_path / "tracker").rglob("hparams.yml")
    assert "lora.r: 2" in settings.read_text()
    assert "lr: 0.01" in settings.read_text()


def test_a_tracker_is_closed_when_training_fails(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr("accelerate.tracking.TensorBoardTracker.finish", lambda _: closed.append(True))
    with pytest.raises(KeyboardInterrupt), tracking(TENSORBOARD, tmp_path, cpu=True):
        raise KeyboardInterrupt
    assert closed == [True]


@pytest.mark.parametrize(("private", "file", "folder"), [(True, 0o600, 0o700), (False, 0o644, 0o755)])
def test_files_have_the_mode_of_the_run_even_if_training_fails(train, tmp_path, monkeypatch, private, file, folder):
    earlier = os.umask(0o022)
    modes = []
    monkeypatch.setattr(Trainer, "_update", lambda *_: modes.append(mode(tmp_path / "tracker")) or 1 / 0)
    try:
        with readable(tmp_path, private=private), pytest.raises(ZeroDivisionError):
            train(TENSORBOARD)
    finally:
        os.umask(earlier)
    written = list(tmp_path.glob("tracker/**/*"))
    assert any(path.name == "hparams.yml" for path in written)
    assert {mode(path) for path in written if path.is_file()} == {file}
    assert {mode(path) for path in written if path.is_dir()} == {folder}
    assert modes == [folder]


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("rank", [0, 1])
def test_without_a_tracker_and_in_other_processes_nothing_is_written(tmp_path, monkeypatch, rank):
    monkeypatch.setattr(distributed, "_group", distributed._Group(rank, 2))
    config = TENSORBOARD if rank else TrainConfig()
    with tracking(config, tmp_path, cpu=True) as log_values:
        log_values({"loss": 1.0}, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_is_not_installed_is_refused():
    check_tracker(None)
    check_tracker("tensorboard")
    with pytest.raises(EffaceError, match=r"train\.tracker=aim: .* not installed; pip install it"):
        check_tracker("aim")
