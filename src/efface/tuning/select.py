"""Of all trials, the one to keep: the best ones are scored in full, on all questions of the search."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from efface.artifacts.tune import TuneCandidate, TuneTrial
from efface.errors import EffaceError
from efface.files.atomic import write_json
from efface.progress.reporter import Reporter
from efface.run.evaluation_stages import free_models
from efface.run.folder import RunFolder
from efface.run.selection.weight_snapshots import WeightSnapshots
from efface.tuning.setup import Setup
from efface.tuning.space import apply
from efface.tuning.study import Study
from efface.tuning.trial import WEIGHTS

FULL = 3
"""How many trials are scored in full."""
_STORED = 2 * FULL
"""Of how many trials the weights are kept during the search: more than `FULL`, as some of them may not hold in full."""


def by_score(trials: Sequence[TuneTrial], keep: float) -> list[TuneTrial]:
    """The trials that have a candidate, the best one first.

    Args:
        trials: Of the search, in any order.
        keep: The bound.
    """
    scored = [(each.best.score(keep), each) for each in trials if each.best is not None]
    return [each for _, each in sorted(scored, key=lambda pair: (-pair[0], pair[1].number))]


def drop_weights(setup: Setup, trials: Sequence[TuneTrial]) -> None:
    """Remove the weights of all trials that ended, except the best ones and those whose model may be chosen already.

    Args:
        setup: Of the search.
        trials: Those that ended.
    """
    best = {each.number for each in by_score(trials, setup.tuning.keep)[:_STORED]}
    for each in trials:
        if each.number not in best and each.full is None:
            shutil.rmtree(weights(setup, each).folder, ignore_errors=True)


def drop_scored_weights(setup: Setup, trials: Sequence[TuneTrial]) -> None:
    """Remove the weights of the trials that were scored in full, once the model of the best of them is written.

    Args:
        setup: Of the search.
        trials: Those that ended.
    """
    for each in trials:
        if each.full is not None:
            shutil.rmtree(weights(setup, each).folder, ignore_errors=True)


def weights(setup: Setup, trial: TuneTrial) -> WeightSnapshots:
    """The weights of a trial's best candidate.

    Args:
        setup: Of the search.
        trial: Any trial; `WeightSnapshots.has` says whether its weights are still stored.

    Returns:
        The folder of the weights, and the plan of the training that wrote them.
    """
    plan = setup.plan(apply(setup.tuning.bases, trial.settings))
    return WeightSnapshots(setup.paths.trial_weights(trial.number), plan, setup.prepared.device)


def choose(setup: Setup, study: Study, reporter: Reporter) -> TuneTrial:
    """Score the best trials in full, and choose.

    At least three are scored, and further ones until one is within the bound or no more weights are stored.

    Args:
        setup: Of the search.
        study: Its trials.
        reporter: Gets stages and progress.

    Returns:
        The trial with the highest forget efficacy within the bound; else the nearest one.

    Raises:
        EffaceError: No trial has a candidate.
    """
    keep = setup.tuning.keep
    ranked = by_score(study.trials(), keep)
    found = [each for each in ranked if each.full is not None]
    for number, trial in enumerate(ranked):
        if number >= FULL and any(_score(each, keep) >= 0 for each in found):
            break
        if trial.full is None and weights(setup, trial).has(WEIGHTS):
            found.append(_score_in_full(setup, trial, reporter))
    if not found:
        raise EffaceError(
            f"none of {len(study.trials())} trials has a model that can be scored; see the warnings above, and narrow "
            "train.lr with --space"
        )
    return max(found, key=lambda each: (_score(each, keep), -each.number))


def save_model(setup: Setup, trial: TuneTrial) -> None:
    """Write the model of a trial into the folder of the search.

    Args:
        setup: Of the search.
        trial: One whose weights are stored.
    """
    weights(setup, trial).rebuild(WEIGHTS, setup.paths.model)
    free_models()


def _score(trial: TuneTrial, keep: float) -> float:
    assert trial.full is not None
    return trial.full.score(keep)


def _score_in_full(setup: Setup, trial: TuneTrial, reporter: Reporter) -> TuneTrial:
    assert trial.best is not None
    reporter.on_stage(f"scoring trial {trial.number} in full")
    folder = RunFolder(setup.paths.trial(trial.number))
    weights(setup, trial).rebuild(WEIGHTS, folder.model)
    free_models()
    records = replace(setup.stages, folder=folder).after(setup.before)
    scores = setup.compare(setup.before, records)
    full = TuneCandidate(
        epoch=trial.best.epoch,
        step=trial.best.step,
        kept=scores.share,
        kept_at_least=scores.at_least,
        utility=scores.utility,
        forget_efficacy=scores.forget_efficacy,
    )
    write_json(setup.paths.full_scores(trial.number), full.model_dump())
    for path in (folder.model, folder.adapter, folder.records_root):
        shutil.rmtree(path, ignore_errors=True)
    return trial.model_copy(update={"full": full})
