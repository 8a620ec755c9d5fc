"""Scores of a queue of requests: each request's forget set, and the utility that is left, after every request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from efface.artifacts import METRICS, ContinualResults, Downstream, Metric, Results, SetScores
from efface.records import Record
from efface.scores.aggregate import forget_efficacy, model_utility, model_utility_retain, retain_sets
from efface.scores.custom import RecordMetric
from efface.scores.definitions import definition as find_definition
from efface.scores.means import mean
from efface.scores.score import score_records
from efface.scores.sets import FORGET


def continual_results(
    results: Sequence[Results],
    before: Mapping[str, Sequence[Record]],
    requests: Sequence[str],
    definition: str,
    custom: Sequence[RecordMetric] = (),
) -> ContinualResults:
    """Join the results of all requests.

    Args:
        results: Of each request, in order; at least one.
        before: Records of the first model, with the forget set of every request as `forgotten-1` and so on.
        requests: Name of each request.
        definition: Name of the score definition.
        custom: Custom metrics.

    Returns:
        The content of the queue's `results.json`.

    Raises:
        EffaceError: When the records cannot be scored.
    """
    first = score_records(before, definition, custom)
    rows = [_forget_set_scores(index, first.sets, results) for index in range(len(results))]
    everything = [scores for each in (first, *(each.after for each in results)) for scores in each.sets.values()]
    metrics = _shared_metrics(everything, find_definition(definition).efficacy_metrics)
    return ContinualResults(
        definition=definition,
        method=results[0].method,
        requests=list(requests),
        before=first,
        after=[each.after for each in results],
        metrics=metrics,
        forget_efficacy=[[forget_efficacy([scores] if scores else [], metrics) for scores in row] for row in rows],
        verdict=results[-1].verdict,
        downstream=_downstream(results),
    )


def efficacy_so_far(results: ContinualResults) -> list[float | None]:
    """Compute the forget efficacy of a queue: the mean over the forget sets of all requests so far.

    Args:
        results: Scores of a queue of requests.

    Returns:
        Before all requests (over the forget sets of all) and after each; None where one is missing.
    """
    found: list[float | None] = []
    for time in range(len(results.after) + 1):
        requested = [row[time] for row in results.forget_efficacy[: time or len(results.after)]]
        available = [each for each in requested if each is not None]
        found.append(mean(available) if available and len(available) == len(requested) else None)
    return found


@dataclass(frozen=True)
class UtilityOverTime:
    """Model utility before all requests and after each."""

    metrics: list[Metric]
    """Those of the definition that all retain sets have at all times; empty if there is no retain set."""
    whole: list[float | None]
    """Over all retain sets."""
    retain: list[float | None]
    """Over the set `retain` alone."""


def utility(results: ContinualResults) -> UtilityOverTime:
    """Compute model utility over the same metrics at all times, whichever of them the forget sets have.

    Args:
        results: Scores of a queue of requests.
    """
    definition = find_definition(results.definition)
    sets = [each.sets for each in (results.before, *results.after)]
    retained = [retain_sets(each, definition) for each in sets]
    scores = [each for row in retained for each in row]
    metrics = _shared_metrics(scores, definition.utility_metrics) if scores else []
    return UtilityOverTime(
        metrics=metrics,
        whole=[model_utility(each, metrics) for each in retained],
        retain=[model_utility_retain(each, metrics) for each in sets],
    )


def _downstream(results: Sequence[Results]) -> list[Downstream]:
    """Before all requests and after each; empty unless all of them have these scores."""
    pairs = [each.downstream for each in results if each.downstream is not None]
    return [pairs[0].before, *(each.after for each in pairs)] if len(pairs) == len(results) else []


def _forget_set_scores(
    index: int, first: Mapping[str, SetScores], results: Sequence[Results]
) -> list[SetScores | None]:
    """One request's forget set before all requests and after each; None after earlier requests."""
    name = f"forgotten-{index + 1}"
    after = [
        None if time < index else each.after.sets[FORGET if time == index else name]
        for time, each in enumerate(results)
    ]
    return [first[name], *after]


def _shared_metrics(sets: Sequence[SetScores], metrics: Sequence[Metric]) -> list[Metric]:
    return [
        metric
        for metric in METRICS
        if metric in metrics and all(getattr(scores, metric) is not None for scores in sets)
    ]
