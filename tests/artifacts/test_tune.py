"""The parts of results.json that bounds and searches add."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from efface.artifacts import Results
from efface.artifacts.tune import KeepResult, TuneCandidate, TuneSummary, TuneTrial
from support.run_fixtures import results  # noqa: F401

BEST = TuneCandidate(epoch=2, step=9, kept=0.97, kept_at_least=0.95, utility=0.8, forget_efficacy=0.7)
TRIAL = TuneTrial(
    number=3, settings={"train.lr": 1e-4, "method": "me+gd"}, state="complete", candidates=5, best=BEST, seconds=1.5
)
TUNE = TuneSummary(
    keep=0.95,
    held=True,
    chosen=3,
    kept=0.96,
    searched={"train.lr": {"low": 1e-5, "high": 1e-3, "log": True}},
    questions_searched={"retain": 60},
    questions_reported={"retain": 60},
    forget_note="As asked.",
    trials=[TRIAL],
)
KEEP = KeepResult(keep=0.9, step=4, stopped_after=6, steps=20, reason="bound", kept=0.95, kept_at_least=0.91)


def test_they_are_read_as_they_were_written(results):  # noqa: F811
    whole = results(0.5).model_copy(update={"tune": TUNE, "keep": KEEP})
    assert Results.model_validate(json.loads(json.dumps(whole.to_json()))) == whole


def test_a_lower_bound_below_zero_promises_nothing_and_still_ranks():
    low, lower = (BEST.model_copy(update={"kept_at_least": bound}) for bound in (-0.1, -0.2))
    assert low.promised == lower.promised == 0
    assert BEST.promised == BEST.kept_at_least
    assert low.score(0.9) > lower.score(0.9)


def test_a_lost_trial_was_begun():
    assert TUNE.begun == 3


def test_other_runs_do_not_have_them(results):  # noqa: F811
    assert not {"tune", "keep"} & {*results(0.5).to_json()}


def test_an_unknown_reason_is_refused():
    with pytest.raises(ValidationError):
        KeepResult.model_validate({**KEEP.model_dump(), "reason": "tired"})


@pytest.mark.parametrize(
    "changes", [{"chosen": 4}, {"trials": []}, {"trials": [TRIAL.model_copy(update={"best": None})]}]
)
def test_a_choice_that_is_no_scored_trial_is_refused(changes):
    with pytest.raises(ValidationError, match="not among the trials"):
        TuneSummary.model_validate({**TUNE.model_dump(), **changes})
