"""`efface sweep --dry-run`: what a sweep would do, and what is done."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from efface.frozen import FrozenModel
from efface.progress.quiet_libraries import quiet_libraries
from efface.sweep.plan import Config, Job, State, SweepPlan
from efface.sweep.spec import SweepSpec


class JobSummary(FrozenModel):
    """One job of a sweep."""

    name: str
    state: State
    folder: str | None
    """Where it is; None where nothing of it exists yet."""


class SweepPlanSummary(FrozenModel):
    """All jobs of a sweep, in their order."""

    target: JobSummary | None
    runs: list[JobSummary]
    baselines: list[JobSummary]

    def counts(self) -> dict[State, int]:
        """How many runs are in each state."""
        return dict(Counter(run.state for run in self.runs))


@quiet_libraries()
def dry_run_sweep(spec: SweepSpec, out: Path, *, data_dir: Path | None) -> SweepPlanSummary:
    """List the jobs of a sweep without doing them.

    Args:
        spec: The sweep.
        out: The folder of the sweep; need not exist.
        data_dir: Folder with benchmark data, or None for the default.

    Returns:
        The state of every job.

    Raises:
        EffaceError: `efface.sweep.sweep.sweep` would refuse the sweep.
    """
    plan = SweepPlan(spec, out, data_dir)
    runs = plan.runs()
    return SweepPlanSummary(
        target=_summarize("target", plan.target) if plan.target else None,
        runs=[_summarize(str(run.combination), run.job) for run in runs],
        baselines=[_summarize(str(baseline), baseline.job) for baseline in plan.baselines(runs)],
    )


def _summarize(name: str, job: Job[Config]) -> JobSummary:
    return JobSummary(name=name, state=job.state, folder=str(job.folder) if job.existing else None)
