"""What each request's forget set scores after every request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from efface.artifacts import METRICS, ContinualResults, Downstream, Metric, Record, Results, SetScores
from efface.scores.aggregate import forget_efficacy, kept_sets, model_utility, model_utility_retain
from efface.scores.custom import RecordMetric
from efface.scores.definitions import definition as find_definition
from efface.scores.score import score_records
from efface.scores.sets import FORGET


def continual_results(
    results: Sequence[Results],
    before: Mapping[str, Sequence[Record]],
    requests: Sequence[str],
    definition: str,
    own: Sequence[RecordMetric] = (),
) -> ContinualResults:
    """Join the results of all requests, in order, with the first model's records (`forgotten-1` and so on among them).

    `requests`: what each is called.
    """
    first = score_records(before, definition, own)
    rows = [_row(place, first.sets, results) for place in range(len(results))]
    metrics = _shared(
        [scores for row in rows for scores in row if scores], find_definition(definition).efficacy_metrics
    )
    return ContinualResults(
        definition=definition,
        method=results[0].method,
        requests=list(requests),
        before=first,
        after=[each.after for each in results],
        metrics=metrics,
        forget_efficacy=[[forget_efficacy(scores, metrics) for scores in row] for row in rows],
        downstream=_downstream(results),
    )


@dataclass(frozen=True)
class Utility:
    """Model utility before all requests and after each."""

    metrics: list[Metric]
    """Those of the definition that all sets to keep have at all times; none where there is no such set."""
    whole: list[float | None]
    retain: list[float | None]
    """Over the retain set alone."""


def utility(results: ContinualResults) -> Utility:
    """The utility that is left, over the same metrics at all times; whatever the sets to forget have of them."""
    rules = find_definition(results.definition)
    sets = [each.sets for each in (results.before, *results.after)]
    kept = [kept_sets(each, rules) for each in sets]
    metrics = _shared([scores for each in kept for scores in each], rules.utility_metrics) if any(kept) else []
    return Utility(
        metrics=metrics,
        whole=[model_utility(each, metrics) for each in kept],
        retain=[model_utility_retain(each, metrics) for each in sets],
    )


def _downstream(results: Sequence[Results]) -> list[Downstream]:
    """Before all requests and after each, where all of them have these scores."""
    found = [each.downstream for each in results if each.downstream is not None]
    return [found[0].before, *(each.after for each in found)] if len(found) == len(results) else []


def _row(place: int, first: Mapping[str, SetScores], results: Sequence[Results]) -> list[SetScores | None]:
    """One request's forget set before all requests and after each; None after those that came before it."""
    name = f"forgotten-{place + 1}"
    after = [
        None if time < place else each.after.sets[FORGET if time == place else name]
        for time, each in enumerate(results)
    ]
    return [first[name], *after]


def _shared(sets: Sequence[SetScores], wanted: Sequence[Metric]) -> list[Metric]:
    return [
        metric for metric in METRICS if metric in wanted and all(getattr(scores, metric) is not None for scores in sets)
    ]
