"""Model utility, forget efficacy, what can be had of them, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from efface.artifacts import METRICS, Metric, Partial, Scores, SetScores
from efface.scores.definitions import Definition
from efface.scores.means import harmonic_mean, mean
from efface.scores.sets import FORGET, KEPT

RETAIN = "retain"


def model_utility(sets: Iterable[SetScores], metrics: Iterable[Metric]) -> float | None:
    """Harmonic mean of `metrics` over `sets`: 0 where one number is 0, None where one is missing or none is there."""
    names = tuple(metrics)
    numbers = [number for scores in sets for number in _numbers(scores, names)]
    complete = [number for number in numbers if number is not None]
    return harmonic_mean(complete) if complete and len(complete) == len(numbers) else None


def forget_efficacy(forget: SetScores | None, metrics: Iterable[Metric]) -> float | None:
    """1 - arithmetic mean of `metrics` on the forget set; None where one is missing or none is there."""
    numbers = [] if forget is None else _numbers(forget, tuple(metrics))
    complete = [number for number in numbers if number is not None]
    return 1 - mean(complete) if complete and len(complete) == len(numbers) else None


def kept_sets(sets: Mapping[str, SetScores], definition: Definition) -> list[SetScores]:
    """The sets that count in the definition's model utility, as far as they are there."""
    return [sets[name] for name in definition.utility_sets or KEPT if name in sets]


def whole_model_utility(sets: Mapping[str, SetScores], definition: Definition) -> float | None:
    """Model utility as defined; None where a number or a set that the definition counts is missing."""
    if _absent(sets, definition):
        return None
    return model_utility(kept_sets(sets, definition), definition.utility_metrics)


def model_utility_retain(sets: Mapping[str, SetScores], metrics: Iterable[Metric]) -> float | None:
    """Model utility over the retain set alone; None without one."""
    return model_utility([sets[RETAIN]], metrics) if RETAIN in sets else None


def partial(sets: Mapping[str, SetScores], definition: Definition) -> Partial:
    """The aggregates over those of the definition's metrics that every set has, and over the sets there are.

    A definition without forget efficacy (`tofu`, `open-unlearning`) has no partial one either.
    """
    counted = {*definition.utility_metrics, *definition.efficacy_metrics}
    shared: list[Metric] = [
        metric
        for metric in METRICS
        if metric in counted and all(getattr(scores, metric) is not None for scores in sets.values())
    ]
    return Partial(
        model_utility=model_utility(kept_sets(sets, definition), shared),
        model_utility_retain=model_utility_retain(sets, shared),
        forget_efficacy=forget_efficacy(
            sets.get(FORGET), [metric for metric in definition.efficacy_metrics if metric in shared]
        ),
        metrics=shared,
    )


def explain_aggregates(sets: Mapping[str, SetScores], definition: Definition) -> dict[str, str]:
    """Aggregate -> one sentence, for each that is null."""
    kept = {name: sets[name] for name in definition.utility_sets or KEPT if name in sets}
    reasons = {
        "model_utility": _absent(sets, definition) or _lacking(kept, definition.utility_metrics),
        "model_utility_retain": (
            _lacking({RETAIN: sets[RETAIN]}, definition.utility_metrics) if RETAIN in sets else "there is no retain set"
        ),
        "forget_efficacy": _no_efficacy(sets, definition),
    }
    return {aggregate: reason for aggregate, reason in reasons.items() if reason}


def _absent(sets: Mapping[str, SetScores], definition: Definition) -> str | None:
    """Why the sets that are there do not make the definition's model utility."""
    if definition.utility_sets is None:
        return None if any(name in sets for name in KEPT) else f"there is no set to keep ({', '.join(KEPT)})"
    absent = [name for name in definition.utility_sets if name not in sets]
    if not absent:
        return None
    return f"{definition.name} counts {', '.join(definition.utility_sets)}, and there is no {', '.join(absent)}"


def _no_efficacy(sets: Mapping[str, SetScores], definition: Definition) -> str | None:
    if not definition.efficacy_metrics:
        return f"{definition.name} does not define a forget efficacy"
    if FORGET not in sets:
        return "there is no forget set"
    return _lacking({FORGET: sets[FORGET]}, definition.efficacy_metrics)


def _lacking(sets: Mapping[str, SetScores], metrics: Sequence[Metric]) -> str | None:
    absent = [
        f"{metric} on {', '.join(names)}"
        for metric in metrics
        if (names := [name for name, scores in sets.items() if getattr(scores, metric) is None])
    ]
    return f"it needs {'; '.join(absent)}" if absent else None


def _numbers(scores: SetScores, metrics: Sequence[Metric]) -> list[float | None]:
    return [getattr(scores, metric) for metric in metrics]


def best(scores: Sequence[Scores]) -> int | None:
    """Place of the scores with the highest harmonic mean of model utility and forget efficacy, the first of equals.

    Partial ones are compared where one of the whole is missing anywhere; None where these are missing, too.
    """
    whole = _means(scores)
    means = _means([each.partial for each in scores]) if whole is None else whole
    return None if not means else means.index(max(means))


def _means(scores: Sequence[Scores] | Sequence[Partial]) -> list[float] | None:
    """The harmonic mean of each; None where a number is missing."""
    means = []
    for each in scores:
        if each.model_utility is None or each.forget_efficacy is None:
            return None
        means.append(harmonic_mean([each.model_utility, each.forget_efficacy]))
    return means
