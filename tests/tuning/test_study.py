"""The study in its journal: what a trial stores, two processes, abandoned trials, and files of strangers."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from efface.artifacts.tune import TuneCandidate
from efface.errors import EffaceError
from efface.files.folder_lock import is_lock
from efface.files.folders import RunPaths, TunePaths
from efface.tuning.space import Range, suggest_values
from efface.tuning.study import Study, _JournalLock, best_candidate, check_optuna
from support.messages import assert_names

SPACE = {"train.lr": Range(low=1e-5, high=1e-3, log=True), "method": ("me+gd", "idk+ap")}
KEEP = 0.9


def candidate(*, epoch=1, kept=0.95, forgot=0.5):
    return TuneCandidate(
        epoch=epoch, step=epoch, kept=kept, kept_at_least=kept, utility=kept / 2, forget_efficacy=forgot
    )


@pytest.fixture
def study(tmp_path):
    return lambda: Study(TunePaths(tmp_path), keep=KEEP, seed=0)


def make(opened, *candidates, state="complete"):
    with opened.next_trial() as trial:
        values = suggest_values(trial.trial, SPACE)
        for number in range(len(candidates)):
            trial.add(candidates[: number + 1])
        opened.finish(trial, state=state, seconds=1.5)
    return values


def test_within_the_bound_more_forgetting_is_better_and_beyond_it_nearness():
    inside, far, near = candidate(forgot=0.1), candidate(kept=0.5, forgot=0.9), candidate(kept=0.8, forgot=0.2)
    assert far.score(KEEP) < near.score(KEEP) < inside.score(KEEP)
    assert best_candidate([far, near], KEEP) == near
    assert best_candidate([], KEEP) is None


def test_a_trial_is_read_as_it_was_made(study):
    best = candidate(epoch=2, forgot=0.7)
    values = make(study(), candidate(), best, candidate(epoch=3, kept=0.7, forgot=0.9))
    (found,) = study().trials()
    assert (found.number, found.settings, found.state, found.seconds) == (1, values, "complete", 1.5)
    assert (found.best, found.candidates) == (best, 3)


def test_the_first_points_are_tried_once(study):
    point = {"train.lr": 2e-4, "method": "idk+ap"}
    for _ in range(2):
        opened = study()
        opened.enqueue([point])
        values = make(opened, candidate())
    first, second = opened.trials()
    assert first.settings == point
    assert second.settings == values != point


def test_a_first_point_that_a_kill_interrupted_is_tried_again(study):
    point = {"train.lr": 2e-4, "method": "idk+ap"}
    opened = study()
    opened.enqueue([point])
    with suppress(KeyboardInterrupt), opened.next_trial() as trial:
        suggest_values(trial.trial, SPACE)
        raise KeyboardInterrupt
    opened = study()
    opened.enqueue([point])
    opened.enqueue([point])
    assert make(opened, candidate()) == point
    assert make(opened, candidate()) != point


def test_the_sampler_learns_from_the_constraint(study):
    """Rates above 3e-5 forget more, and break the model."""
    opened = study()
    for _ in range(40):
        with opened.next_trial() as trial:
            broken = suggest_values(trial.trial, SPACE)["train.lr"] > 3e-5
            trial.add([candidate(kept=0.1, forgot=0.9) if broken else candidate(forgot=0.5)])
            opened.finish(trial, state="complete", seconds=0)
    within = [each.settings["train.lr"] <= 3e-5 for each in opened.trials()[20:]]
    assert sum(within) >= 12, "a quarter would be by chance"


def elsewhere(call):
    """As in another process: locks belong to threads."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def test_two_processes_make_different_trials(study):
    one, other = study(), study()
    with one.next_trial() as first:
        suggest_values(first.trial, SPACE)
        values = elsewhere(lambda: make(other, candidate()))
        assert elsewhere(study).begun() == 2, "the first is not taken for abandoned"
        first.add([candidate()])
        one.finish(first, state="complete", seconds=0)
    assert [each.number for each in one.trials()] == [1, 2]
    assert other.trials()[1].settings == values


def test_of_all_processes_there_are_no_more_trials_than_asked_for(study):
    one, other = study(), study()

    def begins():
        with other.next_trial(most=1) as trial:
            return trial is not None

    with one.next_trial(most=1) as first:
        assert first is not None
        assert not elsewhere(begins)
    assert one.begun() == 1


def test_a_trial_of_a_process_that_was_killed_does_not_count(study, tmp_path):
    paths = TunePaths(tmp_path)
    weights, reference = paths.trial_weights(1), RunPaths(paths.trial(1)).reference_states
    with suppress(KeyboardInterrupt), study().next_trial():
        weights.mkdir()
        reference.parent.mkdir()
        reference.touch()
        raise KeyboardInterrupt
    make(study(), candidate())
    assert [each.number for each in study().trials()] == [2]
    assert not weights.exists()
    assert not reference.exists()
    assert study().begun() == 1


class Killed(BaseException):
    pass


def test_a_trial_that_was_killed_when_all_but_its_end_was_stored_counts(study, tmp_path, monkeypatch):
    def killed(*_):
        raise Killed

    opened, weights = study(), TunePaths(tmp_path).trial_weights(1)
    monkeypatch.setattr(opened, "_tell", killed)
    with suppress(Killed):
        make(opened, candidate(forgot=0.7))
    weights.mkdir(parents=True)
    (found,) = study().trials()
    assert (found.state, found.seconds, found.best) == ("complete", 1.5, candidate(forgot=0.7))
    assert weights.exists(), "the model may be chosen"


def test_a_process_that_was_killed_while_it_wrote_holds_nobody_up(study, tmp_path):
    make(study(), candidate())
    paths = TunePaths(tmp_path)
    child = os.fork()
    if not child:
        lock = _JournalLock(paths.study)
        lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert any(is_lock(path) for path in paths.search.iterdir()), "it left its lock"
    started = time.monotonic()
    make(study(), candidate())
    assert time.monotonic() - started < 20


def test_a_trial_without_a_score_failed(study):
    make(study(), state="failed")
    (found,) = study().trials()
    assert (found.state, found.best) == ("failed", None)


def test_an_incomplete_last_line_is_removed(study, tmp_path):
    make(study(), candidate())
    with TunePaths(tmp_path).study.open("a") as file:
        file.write('{"op_code": 4, "wor')
    make(study(), candidate())
    assert len(study().trials()) == 2


class Runs:
    """Says that it was unpickled."""

    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('ran').touch()",))


@pytest.mark.parametrize(
    "content",
    [
        b"not JSON\n",
        b"[1, 2]\n",
        b'{"op_code": 99, "worker_id": "x"}\n',
        b'{"op_code": 0}\n',
        b"[" * 100_000 + b"\n",
        pickle.dumps(Runs()) + b"\n",
        json.dumps({"op_code": 0, "worker_id": "x", "study_name": "tune", "directions": ["x"]}).encode() + b"\n",
    ],
)
def test_a_damaged_or_foreign_journal_is_refused_and_runs_nothing(study, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    paths = TunePaths(tmp_path)
    paths.search.mkdir()
    paths.study.write_bytes(content)
    with pytest.raises(EffaceError) as refused:
        make(study(), candidate())
    assert_names(str(refused.value), str(paths.study), "--out")
    assert not (tmp_path / "ran").exists()


def test_a_parameter_cannot_name_a_class_to_make(study, tmp_path):
    make(study(), candidate())
    paths = TunePaths(tmp_path)
    text = paths.study.read_text()
    assert "FloatDistribution" in text
    paths.study.write_text(text.replace("FloatDistribution", "os.system"))
    with pytest.raises(EffaceError) as refused:
        study()
    assert_names(str(refused.value), str(paths.study))


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(EffaceError) as refused:
        check_optuna()
    assert_names(str(refused.value), "Optuna", "[tune]")
