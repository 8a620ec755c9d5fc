"""The table of a sweep: means and standard deviations over seeds. No torch."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from efface.artifacts import Metric, Partial, Scores
from efface.frozen import FrozenModel

_AGGREGATES = ("model_utility", "model_utility_retain", "forget_efficacy")
SEED = "seed"
"""The setting that a row is the mean over."""


@dataclass(frozen=True)
class SweepModel:
    """One model of a sweep."""

    group: object
    """Equal for models that can be compared."""
    definition: str
    values: Mapping[str, Any]
    """Setting of the grid -> its value, the seed included; empty for a baseline."""
    scores: Scores | None
    """None where it failed."""
    error: str | None = None
    baseline: str | None = None
    """Its name; None for a run of the grid."""
    requests: int | None = None
    """How many requests of a queue were unlearned; None for a single request."""
    downstream: float | None = None
    """Average over downstream tasks; None where they were not scored."""


class Spread(FrozenModel):
    """Mean and standard deviation over seeds."""

    mean: float
    spread: float | None
    """Sample standard deviation (divisor n - 1); None for one seed."""


class AggregateMeans(FrozenModel):
    """Means of the aggregates; None where one of the seeds has none."""

    model_utility: Spread | None
    model_utility_retain: Spread | None
    forget_efficacy: Spread | None


class PartialAggregates(AggregateMeans):
    """Means of the partial aggregates."""

    metrics: list[Metric]
    """What they are computed over: the metrics that all sets have."""


class SummaryRow(AggregateMeans):
    """A combination of the grid without the seed, or a baseline."""

    baseline: str | None
    settings: dict[str, Any]
    n: int
    """Number of seeds in the means."""
    seeds: list[Any]
    partial: PartialAggregates | None
    """None where the seeds do not have the same metrics."""
    downstream: Spread | None
    """Average over downstream tasks; None where they were not scored."""
    failed: list[str]
    """Which runs or baselines failed, and why."""


class ComparableGroup(FrozenModel):
    """Models that can be compared: same questions, same model before unlearning, same definition of scores."""

    where: dict[str, Any]
    """The settings of the grid that distinguish this group from others."""
    definition: str
    requests: int | None
    """How many requests of a queue were unlearned; scores are those after the last. None for single requests."""
    rows: list[SummaryRow]


class SweepTable(FrozenModel):
    """All results of a sweep."""

    groups: list[ComparableGroup]
    notes: list[str]
    """Warnings about the comparability of the means."""

    @property
    def failures(self) -> list[str]:
        """One message per run or baseline that failed."""
        return [failure for group in self.groups for row in group.rows for failure in row.failed]


def sweep_table(models: Sequence[SweepModel], notes: Sequence[str]) -> SweepTable:
    """Group models that can be compared, and average over seeds.

    Args:
        models: All runs and baselines.
        notes: Warnings about the comparability of the means.

    Returns:
        The groups in the order of their first runs; in each group the baselines come first.
    """
    runs = [model for model in models if model.baseline is None]
    varied = [key for key in dict.fromkeys(key for run in runs for key in run.values) if _differ(runs, key)]
    groups: list[ComparableGroup] = []
    for name in dict.fromkeys(run.group for run in runs):
        members = [model for model in models if model.group == name]
        runs_of_group = [model for model in members if model.baseline is None]
        where = [key for key in varied if key != SEED and not _differ(runs_of_group, key)]
        groups.append(
            ComparableGroup(
                where={key: runs_of_group[0].values[key] for key in where},
                definition=runs_of_group[0].definition,
                requests=runs_of_group[0].requests,
                rows=[_row(each, where) for each in _rows(members)],
            )
        )
    return SweepTable(groups=groups, notes=list(notes))


def combination_name(values: Mapping[str, Any]) -> str:
    """Name a combination of the grid, such as `method=me+gd seed=0`."""
    return " ".join(f"{key}={display_value(value)}" for key, value in values.items())


def display_value(value: Any) -> str:
    """Format the value of a setting as on the command line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _rows(members: Sequence[SweepModel]) -> list[list[SweepModel]]:
    """The models of each row: one baseline, or one combination with all its seeds."""
    rows: dict[tuple[str | None, str], list[SweepModel]] = {}
    for model in sorted(members, key=lambda each: each.baseline is None):
        rows.setdefault((model.baseline, _identity(_without_seed(model))), []).append(model)
    return list(rows.values())


def _row(models: Sequence[SweepModel], where: Sequence[str]) -> SummaryRow:
    first = models[0]
    scores = [model.scores for model in models if model.scores is not None]
    settings = {} if first.baseline else {key: value for key, value in _without_seed(first).items() if key not in where}
    failed = [
        f"{model.baseline or combination_name(model.values)}: {model.error}"
        for model in models
        if model.error is not None
    ]
    return SummaryRow(
        baseline=first.baseline,
        settings=settings,
        n=len(scores),
        seeds=[model.values[SEED] for model in models if model.scores is not None and SEED in model.values],
        partial=_partial([each.partial for each in scores]),
        downstream=_spread([model.downstream for model in models if model.scores is not None]),
        failed=failed,
        **_means(scores),
    )


def _means(scores: Sequence[Scores | Partial]) -> dict[str, Spread | None]:
    return {name: _spread([getattr(each, name) for each in scores]) for name in _AGGREGATES}


def _spread(numbers: Sequence[float | None]) -> Spread | None:
    available = [number for number in numbers if number is not None]
    if not available or len(available) < len(numbers):
        return None
    deviation = statistics.stdev(available) if len(available) > 1 else None
    return Spread(mean=statistics.fmean(available), spread=deviation)


def _partial(partials: Sequence[Partial]) -> PartialAggregates | None:
    if not partials or any(each.metrics != partials[0].metrics for each in partials):
        return None
    return PartialAggregates(metrics=partials[0].metrics, **_means(partials))


def _differ(models: Iterable[SweepModel], key: str) -> bool:
    return len({_identity(model.values.get(key)) for model in models}) > 1


def _identity(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _without_seed(model: SweepModel) -> dict[str, Any]:
    return {key: value for key, value in model.values.items() if key != SEED}
