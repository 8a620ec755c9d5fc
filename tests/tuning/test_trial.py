"""One trial: a candidate after every epoch, the best one's weights, and when it ends early."""

from __future__ import annotations

import math
import os
import signal

import pytest
from safetensors.torch import load_file

from efface import termination
from efface.errors import EffaceError
from efface.files.folders import TunePaths
from efface.progress.reporter import SilentReporter
from efface.run.folder import RunFolder
from efface.run.pipeline import unlearn
from efface.run.selection.weight_snapshots import WeightSnapshots
from efface.scores.kept import Kept
from efface.train.batches.schedule import epoch_ends
from efface.tuning.request import tuning_of
from efface.tuning.setup import set_up
from efface.tuning.study import Study
from efface.tuning.trial import WEIGHTS, TrialMonitor, run_trial, trial_config
from support.runs import Told

KEEP = 0.8


@pytest.fixture
def trial(taught_towns, tmp_path, monkeypatch):
    """Run a trial of 4 epochs whose scores are given; returns the study's trial, its state, and its snapshots."""
    tuning = tuning_of(None, ["train.epochs=4"], keep=KEEP, methods=["me+gd"], settings=taught_towns)
    setup = set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=SilentReporter())

    def go(*scores, deadline=math.inf, told=None):
        given = iter(scores)

        def score(*_):
            share, forgot = next(given)
            return Kept(share=share, at_least=share, utility=share, forget_efficacy=forgot), False

        monkeypatch.setattr("efface.run.selection.quick_scores.QuickScores.score", score)
        study = Study(TunePaths(tmp_path / "out"), keep=KEEP, seed=0)
        with study.next_trial() as begun:
            config = trial_config(tuning.base)
            plan, folder = setup.plan(config), RunFolder(setup.paths.trial(begun.number))
            monitor = TrialMonitor(
                trial=begun,
                scores=setup.quick,
                snapshots=WeightSnapshots(folder.root / "weights", plan, setup.prepared.device),
                epoch_ends=epoch_ends(4, config.train),
                deadline=deadline,
                tell=lambda _: None,
            )
            reporter = told or SilentReporter()
            state = run_trial(monitor, plan, folder, device=setup.prepared.device, reporter=reporter)
            return study.finish(begun, state=state, seconds=1), monitor.snapshots, tuning.base

    return go


def test_the_weights_of_the_best_epoch_are_those_of_a_run_that_stops_there(trial, tmp_path):
    found, snapshots, base = trial((0.9, 0.2), (0.9, 0.5), (0.7, 0.9), (0.9, 0.4))
    assert (found.best.epoch, found.candidates, found.state) == (2, 4, "complete")
    snapshots.rebuild(WEIGHTS, tmp_path / "rebuilt")
    stopped = base.model_copy(update={"train": base.train.model_copy(update={"stop_after": 2})})
    unlearn(stopped, tmp_path / "run")
    one, other = (load_file(path / "model.safetensors") for path in (tmp_path / "rebuilt", tmp_path / "run" / "model"))
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_a_broken_model_is_not_trained_on(trial):
    found, *_ = trial((0.9, 0.2), (0.3, 0.9))
    assert (found.state, found.candidates, found.best.epoch) == ("pruned", 2, 1)


def test_it_ends_at_the_deadline_with_what_it_has(trial):
    found, *_ = trial((0.9, 0.2), deadline=0)
    assert (found.candidates, found.best.epoch) == (1, 1)


def test_a_training_that_fails_keeps_its_candidates(trial, monkeypatch):
    told = Told()

    def fails(self, number, *_):
        if number == 3:
            raise EffaceError("step 3: the loss is not finite")
        return real(self, number, *_)

    from efface.train.loop import Trainer

    real = Trainer._finite_values
    monkeypatch.setattr(Trainer, "_finite_values", fails)
    found, *_ = trial((0.9, 0.2), (0.9, 0.3), told=told)
    assert (found.state, found.candidates, found.best.epoch) == ("failed", 2, 2)
    assert any("not finite" in warning for warning in told.warnings)


def test_a_signal_ends_it_at_once_as_no_checkpoint_of_it_is_continued(trial, monkeypatch):
    def terminated(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("efface.tuning.trial.TrialMonitor.after_step", terminated)
    monkeypatch.setattr("efface.train.loop.end_if_requested", lambda *_: pytest.fail("a step after the signal"))
    with pytest.raises(termination.Terminated) as ended, termination.handled():
        trial()
    assert not str(ended.value), "nothing to say of a step or a checkpoint"
