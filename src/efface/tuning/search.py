"""Search for the settings that forget most within a bound on what is lost."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path

from efface.artifacts import Results
from efface.errors import EffaceError
from efface.files.folder_lock import lock_folder
from efface.files.permissions import readable
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import OnceReporter, Reporter, SilentReporter
from efface.run.folder import RunFolder
from efface.run.selection.weight_snapshots import WeightSnapshots
from efface.train.batches.sampler import anchor_items
from efface.train.batches.schedule import epoch_ends
from efface.tuning.outputs import write_outputs
from efface.tuning.request import Tuning, check_tuning
from efface.tuning.select import choose, drop_scored_weights, drop_weights
from efface.tuning.setup import Setup, set_up
from efface.tuning.space import apply, starts, suggest_values
from efface.tuning.study import Study, StudyTrial, check_optuna
from efface.tuning.trial import TrialMonitor, run_trial, trial_config

DEFAULT_TRIALS = 30
"""Where neither minutes nor trials are given."""


@quiet_libraries()
def tune(
    tuning: Tuning,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Results:
    """Search, choose, and write the settings, their model and a report.

    Several processes may work in one folder: each but the first with `resume`. A process that ends chooses among the
    trials of all.

    Args:
        tuning: The request.
        out: The folder of the search.
        data_dir: Where benchmarks are stored; None for the default.
        resume: Continue a search of the same settings, data and model in `out`.
        reporter: Gets stages, steps, progress and warnings.

    Returns:
        The results; `results.tune.held` says whether a model within the bound was found.

    Raises:
        EffaceError: Something cannot be used, `out` contains something else, or no trial has a model.
    """
    check_optuna()
    check_tuning(tuning)
    once = OnceReporter(reporter or SilentReporter())
    with readable(out, private=tuning.base.private):
        setup = set_up(tuning, out, data_dir=data_dir, resume=resume, reporter=once)
        study = Study(setup.paths, keep=tuning.keep, seed=tuning.base.seed)
        _search(setup, study, once)
        with lock_folder(out, wait=True):
            drop_weights(setup, study.trials())
            chosen = choose(setup, study, once)
            results = write_outputs(setup, chosen, study.trials(), once)
            drop_scored_weights(setup, study.trials())
            return results


def _search(setup: Setup, study: Study, reporter: Reporter) -> None:
    """Make trials until the time is up or there are enough of them."""
    tuning = setup.tuning
    limit = tuning.trials or (DEFAULT_TRIALS if tuning.minutes is None else math.inf)
    deadline = math.inf if tuning.minutes is None else time.monotonic() + 60 * tuning.minutes
    study.enqueue(starts(tuning.bases, setup.space, setup.prepared.manifest.parameters or 0))
    while True:
        with study.next_trial(most=limit if time.monotonic() < deadline else 1) as trial:
            if trial is None:
                return
            _run(setup, study, trial, deadline, reporter)
        _drop_weights(setup, study)


def _drop_weights(setup: Setup, study: Study) -> None:
    """Remove weights that are no longer needed, unless another process chooses: it may be about to rebuild a model."""
    with suppress(EffaceError), lock_folder(setup.paths.root):
        drop_weights(setup, study.trials())


def _run(setup: Setup, study: Study, trial: StudyTrial, deadline: float, reporter: Reporter) -> None:
    start = time.monotonic()
    values = suggest_values(trial.trial, setup.space)
    reporter.on_stage(f"trial {trial.number}: " + ", ".join(f"{key}={_shown(each)}" for key, each in values.items()))
    config = trial_config(apply(setup.tuning.bases, values))
    plan, folder = setup.plan(config), RunFolder(setup.paths.trial(trial.number))
    monitor = TrialMonitor(
        trial=trial,
        scores=setup.quick,
        snapshots=WeightSnapshots(setup.paths.trial_weights(trial.number), plan, setup.prepared.device),
        epoch_ends=epoch_ends(len(anchor_items(setup.prepared.task, config.train)), config.train),
        deadline=deadline,
        tell=reporter.on_stage,
    )
    state = run_trial(monitor, plan, folder, device=setup.prepared.device, reporter=reporter)
    study.finish(trial, state=state, seconds=time.monotonic() - start)


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
