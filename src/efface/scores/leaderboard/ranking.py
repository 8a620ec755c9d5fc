"""Several models that were asked the same: which is best, how sure that is, and which no other beats in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from pydantic import ConfigDict

from efface.artifacts import METRICS, Metric, SetScores
from efface.frozen import FrozenModel
from efface.scores import aggregate
from efface.scores.definitions import Definition
from efface.scores.leaderboard.bootstrap import CountedMetrics, Draws, Interval, bootstrap, interval
from efface.scores.leaderboard.question_scores import Array, SetValues, aligned
from efface.scores.means import harmonic_mean
from efface.scores.sets import FORGET, ordered

SourceType = Literal["run", "queue", "evaluation", "log"]


class ScoredModel(FrozenModel):
    """One model that was scored."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    kind: SourceType
    """A queue of requests is scored after its last one, a log is foreign."""
    method: str | None
    sets: Mapping[str, SetValues]


class RankedModel(FrozenModel):
    """One model's place on a board."""

    name: str
    kind: SourceType
    method: str | None
    rank: int | None
    """From 1; by `harmonic_mean`, and None where it cannot be had. Equal ones share a rank."""
    ranks: tuple[int, int] | None
    """The best and the worst rank among models that this one cannot be told from."""
    pareto_optimal: bool
    """No other model has more of utility or efficacy, and not less of the other."""
    model_utility: Interval | None
    forget_efficacy: Interval | None
    harmonic_mean: Interval | None
    """Of the two; what the ranks are by."""
    sets: dict[str, dict[Metric, Interval | None]]


class Pair(FrozenModel):
    """How much more the first has of the harmonic mean than the second, resampled together."""

    first: str
    second: str
    difference: Interval
    significant: bool
    """The interval does not hold 0."""


class Board(FrozenModel):
    """Models that can be compared."""

    definition: str
    questions: dict[str, int]
    """Set -> how many."""
    partial: list[Metric] | None
    """What utility and efficacy are over where one of the whole is missing for a model; None where none is."""
    apart: str | None
    """Why these are not on the first board."""
    rows: list[RankedModel]
    """The best first."""
    pairs: list[Pair]


def board(
    models: Sequence[ScoredModel], definition: Definition, *, draws: int, seed: int, apart: str | None = None
) -> Board:
    """Rank models that `why_apart` tells apart in nothing."""
    first = models[0].sets
    names = ordered(first)
    keys = {name: first[name].keys for name in names}
    sets = [{name: aligned(model.sets[name], keys[name]) for name in names} for model in models]
    scores = [{name: values.scores() for name, values in each.items()} for each in sets]
    counted = count(scores, definition)
    points = [_aggregates(each, definition, counted) for each in scores]
    drawn = bootstrap(sets, definition, counted, draws=draws, seed=seed)
    found = _Bootstrapped(scores, points, drawn, _pairs(models, [both for _, _, both in points], drawn))
    return Board(
        definition=definition.name,
        questions={name: len(first[name].ids) for name in names},
        partial=None if counted.partial is None else list(counted.partial),
        apart=apart,
        rows=sorted((_row(model, place, found) for place, model in enumerate(models)), key=_order),
        pairs=found.pairs,
    )


def count(models: Sequence[Mapping[str, SetScores]], definition: Definition) -> CountedMetrics:
    """The definition's metrics where all models have the whole aggregates, else those that all sets of all have."""
    whole = all(
        aggregate.whole_model_utility(sets, definition) is not None
        and (
            not definition.efficacy_metrics
            or aggregate.forget_efficacy(sets.get(FORGET), definition.efficacy_metrics) is not None
        )
        for sets in models
    )
    if whole:
        return CountedMetrics(definition.utility_metrics, definition.efficacy_metrics, None)
    partials = [aggregate.partial(sets, definition).metrics for sets in models]
    shared: tuple[Metric, ...] = tuple(each for each in METRICS if all(each in metrics for metrics in partials))
    return CountedMetrics(shared, tuple(each for each in definition.efficacy_metrics if each in shared), shared)


Aggregates = tuple[float | None, float | None, float | None]
"""Model utility, forget efficacy and the harmonic mean of the two."""


def _aggregates(sets: Mapping[str, SetScores], definition: Definition, counted: CountedMetrics) -> Aggregates:
    utility = aggregate.model_utility(aggregate.kept_sets(sets, definition), counted.utility)
    efficacy = aggregate.forget_efficacy(sets.get(FORGET), counted.efficacy)
    both = None if utility is None or efficacy is None else harmonic_mean([utility, efficacy])
    return utility, efficacy, both


@dataclass(frozen=True)
class _Bootstrapped:
    """Of all models, in the same order."""

    scores: list[dict[str, SetScores]]
    points: list[Aggregates]
    drawn: Draws
    pairs: list[Pair]


def _row(model: ScoredModel, place: int, found: _Bootstrapped) -> RankedModel:
    utility, efficacy, both = found.points[place]
    apart = [pair for pair in found.pairs if pair.significant and model.name in (pair.first, pair.second)]
    better = sum((pair.difference.value > 0) == (pair.second == model.name) for pair in apart)
    above = sum(each is not None and both is not None and each > both for _, _, each in found.points)
    drawn = found.drawn
    return RankedModel(
        name=model.name,
        kind=model.kind,
        method=model.method,
        rank=None if both is None else 1 + above,
        ranks=None if both is None else (1 + better, len(found.points) - (len(apart) - better)),
        pareto_optimal=_is_pareto_optimal(place, found.points),
        model_utility=_interval(utility, drawn.model_utility, place),
        forget_efficacy=_interval(efficacy, drawn.forget_efficacy, place),
        harmonic_mean=_interval(both, drawn.harmonic_mean, place),
        sets={
            name: {
                metric: _interval(getattr(each, metric), drawn.sets[name][..., number], place)
                for number, metric in enumerate(METRICS)
            }
            for name, each in found.scores[place].items()
        },
    )


def _interval(value: float | None, drawn_DR: Array | None, place: int) -> Interval | None:
    return None if value is None or drawn_DR is None else interval(value, drawn_DR[:, place])


def _is_pareto_optimal(place: int, points: Sequence[Aggregates]) -> bool:
    utility, efficacy, _ = points[place]
    if utility is None or efficacy is None:
        return False
    there = [(u, e) for u, e, _ in points if u is not None and e is not None]
    return not any(u >= utility and e >= efficacy and (u, e) != (utility, efficacy) for u, e in there)


def _pairs(models: Sequence[ScoredModel], points: Sequence[float | None], drawn: Draws) -> list[Pair]:
    both_DR = drawn.harmonic_mean
    found = []
    for one, other in combinations(range(len(models)), 2):
        first, second = points[one], points[other]
        if first is None or second is None or both_DR is None:
            continue
        difference = interval(first - second, both_DR[:, one] - both_DR[:, other])
        found.append(
            Pair(
                first=models[one].name,
                second=models[other].name,
                difference=difference,
                significant=not difference.low <= 0 <= difference.high,
            )
        )
    return found


def _order(row: RankedModel) -> tuple[float, ...]:
    """The best first; where there are no ranks, by utility and then efficacy."""
    numbers = (row.harmonic_mean, row.model_utility, row.forget_efficacy)
    return tuple(1.0 if each is None else -each.value for each in numbers)
