"""Rank comparable models, with confidence intervals, significant differences and Pareto optimality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from pydantic import ConfigDict, Field

from efface.artifacts import METRICS, Metric, SetScores, Verdict
from efface.artifacts.audit import AuditResults
from efface.frozen import FrozenModel
from efface.scores import aggregate
from efface.scores.definitions import Definition
from efface.scores.leaderboard.bootstrap import AggregateMetrics, Draws, Interval, bootstrap, interval
from efface.scores.leaderboard.question_scores import Array, SetValues, align
from efface.scores.means import harmonic_mean
from efface.scores.metrics.token_entropy import entropy_note
from efface.scores.sets import sort_names

SourceType = Literal["run", "queue", "evaluation", "log", "before"]
"""A queue of requests is scored after its last one; a log is of other code; `before` is the model that runs started
from."""


class ScoredModel(FrozenModel):
    """One model with the scores of its questions."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    kind: SourceType
    method: str | None
    audit: AuditResults | None = None
    sets: Mapping[str, SetValues]
    verdict: Verdict | None = None


class RankedModel(FrozenModel):
    """One model on a board, with its rank."""

    name: str
    kind: SourceType
    method: str | None
    rank: int | None
    """From 1, by `harmonic_mean`; None without it. Equal models share a rank."""
    ranks: tuple[int, int] | None
    """The best and the worst rank that are consistent with the significant differences to other models."""
    pareto_optimal: bool
    """No other model is better in utility or efficacy and at least equal in the other."""
    model_utility: Interval | None
    forget_efficacy: Interval | None
    harmonic_mean: Interval | None
    """Of model utility and forget efficacy; decides the rank."""
    recoverable: Interval | None = None
    """Share of the facts known before that an audit brought back; not part of the rank. None where the model was not
    audited, or the audits of the board tried other attacks."""
    sets: dict[str, dict[Metric, Interval | None]]
    extraction_strength: dict[str, float] = Field(default={})
    """Set -> mean over its questions, for the sets that have it; in no aggregate."""
    verdict: Verdict | None = None
    """On a run or queue: whether it forgot and what it kept."""


class Pair(FrozenModel):
    """The difference of two models' harmonic means, from paired resamples."""

    first: str
    second: str
    difference: Interval
    significant: bool
    """Whether the interval of the difference excludes 0."""


class Board(FrozenModel):
    """A ranking of comparable models."""

    definition: str
    questions: dict[str, int]
    """Set -> number of questions."""
    partial: list[Metric] | None
    """The metrics that the aggregates include if a complete one is missing for a model; None if none is missing."""
    not_comparable_reason: str | None
    """Why these models are not on the first board; None for the first board."""
    rows: list[RankedModel]
    """The best first."""
    pairs: list[Pair]
    notes: dict[Metric, str] = Field(default={})
    """Metric -> for which models it differs from the definition, as `Scores.notes`."""
    audits_differ: bool = False
    """Whether models were audited with other attacks, so that `recoverable` cannot be compared."""


def board(
    models: Sequence[ScoredModel],
    definition: Definition,
    *,
    draws: int,
    seed: int,
    not_comparable_reason: str | None = None,
) -> Board:
    """Rank comparable models.

    Args:
        models: Models with the same questions and judges (`incomparable_reason` is None for any two).
        definition: The score definition.
        draws: Number of bootstrap resamples.
        seed: Seed of the resamples.
        not_comparable_reason: Why these models are not on the first board.

    Returns:
        The models, the best first, and the differences of each two.
    """
    first = models[0].sets
    names = sort_names(first)
    keys = {name: first[name].keys for name in names}
    sets = [{name: align(model.sets[name], keys[name]) for name in names} for model in models]
    scores = [{name: values.scores() for name, values in each.items()} for each in sets]
    metrics = choose_metrics(scores, definition)
    points = [_aggregates(each, definition, metrics) for each in scores]
    drawn = bootstrap(sets, definition, metrics, draws=draws, seed=seed)
    pairs = _pairs(models, [harmonic for _, _, harmonic in points], drawn)
    bootstrapped = _Bootstrapped(scores, points, drawn, pairs)
    audits = {_audited(model.audit) for model in models if model.audit is not None}
    counted = {model.name: {kind for each in model.sets.values() for kind in each.entropy_tokens} for model in models}
    note = entropy_note(counted, definition.entropy_tokens, definition.name)
    return Board(
        definition=definition.name,
        questions={name: len(first[name].ids) for name in names},
        partial=None if metrics.partial is None else list(metrics.partial),
        not_comparable_reason=not_comparable_reason,
        rows=sorted(
            (_ranked(model, index, bootstrapped, with_audit=len(audits) == 1) for index, model in enumerate(models)),
            key=_order,
        ),
        pairs=pairs,
        notes={} if note is None else {"token_entropy": note},
        audits_differ=len(audits) > 1,
    )


def choose_metrics(models: Sequence[Mapping[str, SetScores]], definition: Definition) -> AggregateMetrics:
    """Choose the metrics that the aggregates of a board include.

    Args:
        models: Set name -> scores of each model.
        definition: The score definition.

    Returns:
        The definition's metrics if all models have complete aggregates, else those that all sets of all models have.
    """
    complete = all(
        aggregate.complete_model_utility(sets, definition) is not None
        and (
            not definition.efficacy_metrics
            or aggregate.forget_efficacy(aggregate.forget_sets(sets), definition.efficacy_metrics) is not None
        )
        for sets in models
    )
    if complete:
        return AggregateMetrics(definition.utility_metrics, definition.efficacy_metrics, None)
    partials = [aggregate.partial_aggregates(sets, definition).metrics for sets in models]
    shared: tuple[Metric, ...] = tuple(each for each in METRICS if all(each in partial for partial in partials))
    return AggregateMetrics(shared, tuple(each for each in definition.efficacy_metrics if each in shared), shared)


Aggregates = tuple[float | None, float | None, float | None]
"""Model utility, forget efficacy and the harmonic mean of the two."""


def _aggregates(sets: Mapping[str, SetScores], definition: Definition, metrics: AggregateMetrics) -> Aggregates:
    utility = aggregate.model_utility(aggregate.retain_sets(sets, definition), metrics.utility)
    efficacy = aggregate.forget_efficacy(aggregate.forget_sets(sets), metrics.efficacy)
    harmonic = None if utility is None or efficacy is None else harmonic_mean([utility, efficacy])
    return utility, efficacy, harmonic


@dataclass(frozen=True)
class _Bootstrapped:
    """Scores of all models, in the same order."""

    scores: list[dict[str, SetScores]]
    points: list[Aggregates]
    drawn: Draws
    pairs: list[Pair]


def _audited(audit: AuditResults) -> tuple[object, ...]:
    """What must be equal for two audits to be compared: a union over more attacks only grows."""
    counted = tuple(sorted((name, *each.variants) for name, each in audit.attacks.items() if each.in_union))
    return counted, audit.level, audit.recoverable.judge, tuple(audit.seeds)


def _recoverable(audit: AuditResults | None) -> Interval | None:
    if audit is None:
        return None
    found = audit.recoverable
    return Interval(value=found.k / found.n, low=found.interval[0], high=found.interval[1])


def _ranked(model: ScoredModel, index: int, bootstrapped: _Bootstrapped, *, with_audit: bool) -> RankedModel:
    points, drawn = bootstrapped.points, bootstrapped.drawn
    utility, efficacy, harmonic = points[index]
    significant = [pair for pair in bootstrapped.pairs if pair.significant and model.name in (pair.first, pair.second)]
    better = sum((pair.difference.value > 0) == (pair.second == model.name) for pair in significant)
    above = sum(each is not None and harmonic is not None and each > harmonic for _, _, each in points)
    return RankedModel(
        name=model.name,
        kind=model.kind,
        method=model.method,
        rank=None if harmonic is None else 1 + above,
        ranks=None if harmonic is None else (1 + better, len(points) - (len(significant) - better)),
        pareto_optimal=_is_pareto_optimal(index, points),
        model_utility=_interval(utility, drawn.model_utility, index),
        forget_efficacy=_interval(efficacy, drawn.forget_efficacy, index),
        harmonic_mean=_interval(harmonic, drawn.harmonic_mean, index),
        recoverable=_recoverable(model.audit) if with_audit else None,
        sets={
            name: {
                metric: _interval(getattr(each, metric), drawn.sets[name][..., column], index)
                for column, metric in enumerate(METRICS)
            }
            for name, each in bootstrapped.scores[index].items()
        },
        extraction_strength={
            name: each.extraction_strength
            for name, each in bootstrapped.scores[index].items()
            if each.extraction_strength is not None
        },
        verdict=model.verdict,
    )


def _interval(value: float | None, drawn_DR: Array | None, index: int) -> Interval | None:
    return None if value is None or drawn_DR is None else interval(value, drawn_DR[:, index])


def _is_pareto_optimal(index: int, points: Sequence[Aggregates]) -> bool:
    utility, efficacy, _ = points[index]
    if utility is None or efficacy is None:
        return False
    complete = [(u, e) for u, e, _ in points if u is not None and e is not None]
    return not any(u >= utility and e >= efficacy and (u, e) != (utility, efficacy) for u, e in complete)


def _pairs(models: Sequence[ScoredModel], points: Sequence[float | None], drawn: Draws) -> list[Pair]:
    harmonic_DR = drawn.harmonic_mean
    pairs = []
    for one, other in combinations(range(len(models)), 2):
        first, second = points[one], points[other]
        if first is None or second is None or harmonic_DR is None:
            continue
        difference = interval(first - second, harmonic_DR[:, one] - harmonic_DR[:, other])
        pairs.append(
            Pair(
                first=models[one].name,
                second=models[other].name,
                difference=difference,
                significant=not difference.low <= 0 <= difference.high,
            )
        )
    return pairs


def _order(row: RankedModel) -> tuple[float, ...]:
    """The best first; without ranks, by utility and then efficacy."""
    numbers = (row.harmonic_mean, row.model_utility, row.forget_efficacy)
    return tuple(1.0 if each is None else -each.value for each in numbers)
