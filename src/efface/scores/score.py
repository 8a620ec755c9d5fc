"""Scores of records or of a foreign eval log under one definition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from efface.artifacts import Record, Scores
from efface.errors import EffaceError
from efface.folders import Stage
from efface.scores import aggregate
from efface.scores.custom import RecordMetric
from efface.scores.definitions import Definition
from efface.scores.definitions import definition as find_definition
from efface.scores.forget_quality import forget_quality
from efface.scores.from_records import from_records
from efface.scores.hallucination import hallucinations
from efface.scores.load import load
from efface.scores.question import MetricInputs
from efface.scores.set_scores import explain, score_set
from efface.scores.sets import FORGET, check_names, ordered


def score_path(
    path: str | Path,
    *,
    definition: str = "closer-look",
    against: str | Path | None = None,
    stage: Stage = "after",
    metrics: Sequence[RecordMetric] = (),
    refusals: Collection[str] | None = None,
) -> dict[str, Any]:
    """Score a run's folder, a folder of records or a foreign eval log in TOFU's format; no model is needed.

    `against` is the same of a model retrained without the forget set: it adds `forget_quality`, under the truth
    ratio of `definition`. `stage` says which records of a run's folder are read, in `against` too. `metrics` are the
    user's own, which a foreign eval log cannot have. `refusals` are wordings of "I don't know", in any letters; with
    them, even none, `hallucinations` are counted on the forget set. Returns the JSON object that `efface score`
    prints: `definition`, `sets`, `model_utility`, `model_utility_retain`, `forget_efficacy`, `partial`, `missing`,
    `embedder`, `judge` and what was asked for of `forget_quality` and `hallucinations`.

    Raises `EffaceError` for an unknown definition or stage, for files that are not there, damaged or something
    else, and for an `against` where one of the two has no truth ratios on a forget set.
    """
    rules = find_definition(definition)
    sets = load(Path(path), stage=stage, metrics=metrics)
    if FORGET in sets and (against is not None or refusals is not None):
        sets[FORGET] = list(sets[FORGET])  # read again below
    retrained = None if against is None else load(Path(against), stage=stage)
    scores = score_questions(sets, rules, custom=[metric.name for metric in metrics]).model_dump()
    result = {"definition": rules.name, "sets": scores.pop("sets"), **scores}
    if against is not None and retrained is not None:
        quality = forget_quality(_forget(sets, path), _forget(retrained, against), rules)
        result["forget_quality"] = quality.model_dump()
    if refusals is not None:
        result["hallucinations"] = hallucinations([*sets.get(FORGET, ())], refusals).model_dump()
    return result


def score_records(
    records: Mapping[str, Sequence[Record]], definition: str, metrics: Sequence[RecordMetric] = ()
) -> Scores:
    """Score set -> records under the definition of that name, and by the custom `metrics`.

    Raises `EffaceError` for an unknown definition or set, a set without records, damaged records, and a custom metric
    that fails.
    """
    rules = find_definition(definition)
    if not records:
        raise EffaceError("the records hold no evaluation set; run the evaluation again")
    check_names(records, where="the records")
    sets = {name: from_records(name, rows, where="the records", metrics=metrics) for name, rows in records.items()}
    return score_questions(sets, rules, custom=[metric.name for metric in metrics])


def score_questions(
    sets: Mapping[str, Iterable[MetricInputs]], definition: Definition, custom: Sequence[str] = ()
) -> Scores:
    """Score set -> questions, each iterated over once; what cannot be had is null, and `missing` says why.

    `custom` names the custom metrics.
    """
    scored = {name: score_set(name, sets[name], definition, custom) for name in ordered(sets)}
    set_scores = {name: each.scores for name, each in scored.items()}
    return Scores(
        model_utility=aggregate.whole_model_utility(set_scores, definition),
        model_utility_retain=aggregate.model_utility_retain(set_scores, definition.utility_metrics),
        forget_efficacy=aggregate.forget_efficacy(set_scores.get(FORGET), definition.efficacy_metrics),
        partial=aggregate.partial(set_scores, definition),
        missing={
            **explain(gap for each in scored.values() for gap in each.gaps),
            **aggregate.explain_aggregates(set_scores, definition),
        },
        embedder=_the_one("embedding model", (name for each in scored.values() for name in each.embedders)),
        judge=_the_one("judge", (name for each in scored.values() for name in each.judges)),
        sets=set_scores,
    )


def _the_one(what: str, names: Iterable[str]) -> str | None:
    """The one name among `names`; None where there is none."""
    found = sorted(set(names))
    if len(found) > 1:
        raise EffaceError(
            f"the records come from more than one {what} ({', '.join(found)}), so their scores do not compare; "
            "evaluate all sets with one"
        )
    return found[0] if found else None


def _forget(sets: Mapping[str, Iterable[MetricInputs]], path: str | Path) -> list[MetricInputs]:
    if FORGET not in sets:
        raise EffaceError(f"{path} has no forget set, and forget quality compares two; score without `against`")
    return list(sets[FORGET])
