"""`--dry-run`: what a sweep would make, and what is there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from efface.frozen import FrozenModel
from efface.progress.quiet_libraries import quiet_libraries
from efface.sweep.plan import Config, Job, Plan, State
from efface.sweep.spec import SweepSpec


class Planned(FrozenModel):
    """One job."""

    what: str
    state: State
    folder: str | None
    """Where it is; None where nothing is there yet."""


class SweepPlanSummary(FrozenModel):
    """All jobs of a sweep, in their order."""

    target: Planned | None
    runs: list[Planned]
    baselines: list[Planned]

    def counts(self) -> dict[State, int]:
        """How many runs there are in each state."""
        return dict(Counter(run.state for run in self.runs))


@quiet_libraries()
def dry_run_sweep(spec: SweepSpec, out: Path, *, data_dir: Path | None) -> SweepPlanSummary:
    """What `sweep` would do; raises the same `EffaceError`s before anything is made."""
    plan = Plan(spec, out, data_dir)
    runs = plan.runs()
    return SweepPlanSummary(
        target=_planned("target", plan.target) if plan.target else None,
        runs=[_planned(str(run.point), run.job) for run in runs],
        baselines=[_planned(str(each), each.job) for each in plan.comparisons(runs)],
    )


def _planned(what: str, job: Job[Config]) -> Planned:
    return Planned(what=what, state=job.state, folder=str(job.folder) if job.found else None)
