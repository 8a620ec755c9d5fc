"""Model utility and forget efficacy, complete and partial, and why one is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from efface.artifacts import METRICS, Metric, Partial, Scores, SetScores
from efface.scores.definitions import Definition
from efface.scores.means import harmonic_mean, mean
from efface.scores.sets import FORGET, OTHER_SETS, RETAIN_SETS, find_retain, is_forgotten


def model_utility(sets: Iterable[SetScores], metrics: Iterable[Metric]) -> float | None:
    """Compute the harmonic mean of some metrics over some sets; arXiv:2410.08109.

    Args:
        sets: Scores of the retain sets.
        metrics: Metrics that it includes.

    Returns:
        A number in [0, 1], 0 if one of the scores is 0; None if one is missing or there is none.
    """
    scores = _complete_scores(sets, metrics)
    return harmonic_mean(scores) if scores else None


def forget_efficacy(forget: Iterable[SetScores], metrics: Iterable[Metric]) -> float | None:
    """Compute 1 - arithmetic mean of some metrics on the forget set; arXiv:2410.08109.

    Args:
        forget: Scores of the forget set; with requests one after another, of the forget sets of all requests so far
            (`forget_sets`), over which the mean is taken.
        metrics: Metrics that it includes.

    Returns:
        A number in [0, 1]; None if a score is missing or there is none.
    """
    scores = _complete_scores(forget, metrics)
    return 1 - mean(scores) if scores else None


def forget_sets(sets: Mapping[str, SetScores]) -> list[SetScores]:
    """Scores of the forget set, then of those of earlier requests; empty without a forget set."""
    return [each for name, each in sets.items() if name == FORGET or is_forgotten(name)] if FORGET in sets else []


def retain_sets(sets: Mapping[str, SetScores], definition: Definition) -> list[SetScores]:
    """Scores of the available sets that the definition's model utility includes.

    Args:
        sets: Set name -> scores.
        definition: Which sets model utility includes.

    Returns:
        Their scores, in the order of the definition.
    """
    return [*_retain_sets(sets, definition).values()]


def complete_model_utility(sets: Mapping[str, SetScores], definition: Definition) -> float | None:
    """Compute model utility as a definition defines it.

    Args:
        sets: Set name -> scores.
        definition: Which metrics and sets model utility includes.

    Returns:
        The model utility; None if one of these sets or metrics is missing.
    """
    if _missing_sets_reason(sets, definition):
        return None
    return model_utility(retain_sets(sets, definition), definition.utility_metrics)


def model_utility_retain(sets: Mapping[str, SetScores], metrics: Iterable[Metric]) -> float | None:
    """Model utility over the retain set alone (`find_retain`), as in the published code; None without one.

    Args:
        sets: Set name -> scores.
        metrics: Metrics that it includes.

    Returns:
        A number in [0, 1]; None also where one of the metrics is missing.
    """
    name = find_retain(sets)
    return None if name is None else model_utility([sets[name]], metrics)


def partial_aggregates(sets: Mapping[str, SetScores], definition: Definition) -> Partial:
    """Compute the aggregates over the available sets and the metrics that all of them have.

    Args:
        sets: Set name -> scores.
        definition: Which metrics and sets the aggregates may include. Without a forget efficacy (`tofu`,
            `open-unlearning`), there is no partial one either.

    Returns:
        The aggregates, and the metrics that they include.
    """
    included = {*definition.utility_metrics, *definition.efficacy_metrics}
    aggregated = [scores for name, scores in sets.items() if name not in OTHER_SETS]
    shared: list[Metric] = [
        metric
        for metric in METRICS
        if metric in included and all(getattr(scores, metric) is not None for scores in aggregated)
    ]
    return Partial(
        model_utility=model_utility(retain_sets(sets, definition), shared),
        model_utility_retain=model_utility_retain(sets, shared),
        forget_efficacy=forget_efficacy(
            forget_sets(sets), [metric for metric in definition.efficacy_metrics if metric in shared]
        ),
        metrics=shared,
    )


def explain_aggregates(sets: Mapping[str, SetScores], definition: Definition) -> dict[str, str]:
    """Explain the aggregates that are missing.

    Args:
        sets: Set name -> scores.
        definition: Which metrics and sets the aggregates include.

    Returns:
        Aggregate -> one sentence, for each that is null.
    """
    available = _retain_sets(sets, definition)
    retain = find_retain(sets)
    reasons = {
        "model_utility": _missing_sets_reason(sets, definition)
        or _missing_metrics_reason(available, definition.utility_metrics),
        "model_utility_retain": _missing_metrics_reason({retain: sets[retain]}, definition.utility_metrics)
        if retain is not None
        else "there is no retain set",
        "forget_efficacy": _missing_efficacy_reason(sets, definition),
    }
    return {aggregate: reason for aggregate, reason in reasons.items() if reason}


def best_index(scores: Sequence[Scores]) -> int | None:
    """Find the scores with the highest harmonic mean of model utility and forget efficacy.

    Args:
        scores: Scores of several models.

    Returns:
        Index of the best, the first of equals. If a complete aggregate is missing for any of them, partial ones are
        compared; None if one of these is missing, too.
    """
    complete = _harmonic_means(scores)
    means = _harmonic_means([each.partial for each in scores]) if complete is None else complete
    return None if not means else means.index(max(means))


def _complete_scores(sets: Iterable[SetScores], metrics: Iterable[Metric]) -> list[float] | None:
    """The metrics of all sets; None if one is missing."""
    names = tuple(metrics)
    scores = [getattr(each, metric) for each in sets for metric in names]
    return None if any(score is None for score in scores) else scores


def _retain_sets(sets: Mapping[str, SetScores], definition: Definition) -> dict[str, SetScores]:
    return {name: sets[name] for name in definition.utility_sets or RETAIN_SETS if name in sets}


def _missing_sets_reason(sets: Mapping[str, SetScores], definition: Definition) -> str | None:
    """Why the available sets are not enough for the definition's model utility."""
    if definition.utility_sets is None:
        has_one = any(name in sets for name in RETAIN_SETS)
        return None if has_one else f"there is none of the retain sets {', '.join(RETAIN_SETS)}"
    missing = [name for name in definition.utility_sets if name not in sets]
    if not missing:
        return None
    return f"{definition.name} includes {', '.join(definition.utility_sets)}, and there is no {', '.join(missing)}"


def _missing_efficacy_reason(sets: Mapping[str, SetScores], definition: Definition) -> str | None:
    if not definition.efficacy_metrics:
        return f"{definition.name} does not define a forget efficacy"
    if FORGET not in sets:
        return "there is no forget set"
    forgotten = {name: each for name, each in sets.items() if name == FORGET or is_forgotten(name)}
    return _missing_metrics_reason(forgotten, definition.efficacy_metrics)


def _missing_metrics_reason(sets: Mapping[str, SetScores], metrics: Sequence[Metric]) -> str | None:
    missing = [
        f"{metric} on {', '.join(names)}"
        for metric in metrics
        if (names := [name for name, scores in sets.items() if getattr(scores, metric) is None])
    ]
    return f"it needs {'; '.join(missing)}" if missing else None


def _harmonic_means(scores: Sequence[Scores] | Sequence[Partial]) -> list[float] | None:
    """The harmonic mean of both aggregates for each model; None if an aggregate is missing."""
    means = []
    for each in scores:
        if each.model_utility is None or each.forget_efficacy is None:
            return None
        means.append(harmonic_mean([each.model_utility, each.forget_efficacy]))
    return means
