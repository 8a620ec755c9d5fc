"""The choice among trials: those that are scored in full, and the one that is kept."""

from __future__ import annotations

import pytest

from efface.artifacts.tune import TuneCandidate, TuneTrial
from efface.errors import EffaceError
from efface.progress.reporter import SilentReporter
from efface.tuning import select
from efface.tuning.select import by_score, choose, drop_weights

KEEP = 0.9


def candidate(kept, forgot):
    return TuneCandidate(epoch=1, step=1, kept=kept, kept_at_least=kept, utility=kept, forget_efficacy=forgot)


def trial(number, kept, forgot, full=None):
    return TuneTrial(
        number=number,
        settings={},
        state="complete",
        candidates=1,
        best=candidate(kept, forgot),
        full=full,
        seconds=1,
    )


class Weights:
    def __init__(self, folder, stored):
        self.folder, self._stored = folder, stored

    def has(self, _):
        return self._stored


class Paths:
    keep = KEEP


class Setup:
    tuning = Paths


class Found:
    def __init__(self, trials):
        self._trials = trials

    def trials(self):
        return self._trials


@pytest.fixture
def choosing(monkeypatch):
    """Choose among trials whose full scores are given; without one, their weights are not stored."""

    def go(trials, full):
        scored = []

        def in_full(_, each, __):
            scored.append(each.number)
            return each.model_copy(update={"full": candidate(*full[each.number])})

        monkeypatch.setattr(select, "weights", lambda _, each: Weights(None, each.number in full))
        monkeypatch.setattr(select, "_score_in_full", in_full)
        return choose(Setup, Found(trials), SilentReporter()).number, scored

    return go


def test_trials_within_the_bound_come_first():
    trials = [trial(0, 0.5, 0.9), trial(1, 0.95, 0.4), trial(2, 0.85, 0.8), trial(3, 0.92, 0.6)]
    assert [each.number for each in by_score(trials, KEEP)] == [3, 1, 2, 0]


def test_the_best_three_are_scored_and_the_one_that_forgets_most_within_the_bound_is_chosen(choosing):
    trials = [trial(number, 0.95, 0.9 - number / 10) for number in range(5)]
    full = {0: (0.7, 0.9), 1: (0.95, 0.5), 2: (0.95, 0.6), 3: (1.0, 1.0)}
    assert choosing(trials, full) == (2, [0, 1, 2])


def test_further_ones_are_scored_where_none_holds(choosing):
    trials = [trial(number, 0.95, 0.9 - number / 10) for number in range(6)]
    full = dict.fromkeys(range(3), (0.7, 0.9)) | {3: (0.95, 0.2), 4: (0.95, 0.9)}
    assert choosing(trials, full) == (3, [0, 1, 2, 3])


def test_else_the_nearest_is_left(choosing):
    trials = [trial(number, 0.95, 0.9 - number / 10) for number in range(3)]
    assert choosing(trials, {0: (0.5, 1.0), 1: (0.8, 0.1), 2: (0.7, 0.9)})[0] == 1


def test_what_was_scored_in_full_is_not_scored_again(choosing):
    trials = [trial(0, 0.95, 0.9, full=candidate(0.95, 0.7)), trial(1, 0.95, 0.8)]
    assert choosing(trials, {1: (0.95, 0.6)}) == (0, [1])


def test_without_any_candidate_it_says_so(choosing):
    failed = trial(0, 0, 0).model_copy(update={"best": None})
    with pytest.raises(EffaceError, match=r"train\.lr"):
        choosing([failed], {})


def test_the_weights_of_the_best_six_are_kept(tmp_path, monkeypatch):
    def stored(_, each):
        folder = tmp_path / str(each.number)
        folder.mkdir(exist_ok=True)
        return Weights(folder, True)

    monkeypatch.setattr(select, "weights", stored)
    trials = [trial(number, 0.95, number / 10) for number in range(9)]
    for each in trials:
        stored(None, each)
    drop_weights(Setup, trials)
    assert {path.name for path in tmp_path.iterdir()} == {"3", "4", "5", "6", "7", "8"}


def test_the_weights_of_a_trial_that_was_scored_in_full_are_kept_until_its_model_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(select, "weights", lambda _, each: Weights(tmp_path / str(each.number), True))
    scored = trial(0, 0.95, 0.01, full=candidate(0.95, 0.9))
    trials = [scored, *(trial(number, 0.95, number / 10) for number in range(1, 9))]
    for each in trials:
        (tmp_path / str(each.number)).mkdir()
    drop_weights(Setup, trials)
    assert (tmp_path / "0").is_dir()
    assert not (tmp_path / "1").exists()
