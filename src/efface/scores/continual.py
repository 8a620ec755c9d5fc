"""What each request's forget set scores after every request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from efface.artifacts import METRICS, ContinualResults, Metric, Record, Results, SetScores
from efface.scores.aggregate import forget_efficacy
from efface.scores.definitions import definition as find_definition
from efface.scores.own import RecordMetric
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
    )


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
