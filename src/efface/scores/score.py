"""Score records, or an eval log of other code, under one definition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from efface.artifacts import Scores
from efface.errors import EffaceError
from efface.files.folders import Stage
from efface.records import Record
from efface.scores import aggregate
from efface.scores.custom import RecordMetric
from efface.scores.definitions import Definition
from efface.scores.definitions import definition as find_definition
from efface.scores.forget_quality import forget_quality
from efface.scores.hallucination import hallucinations
from efface.scores.inputs.eval_logs import is_summary, logged_aggregates
from efface.scores.inputs.from_records import from_records
from efface.scores.inputs.load import load
from efface.scores.inputs.metric_inputs import MetricInputs
from efface.scores.metrics.token_entropy import entropy_note
from efface.scores.privacy_leakage import membership_sets, privacy_leakage
from efface.scores.set_scores import ScoredSet, explain_gaps, score_set
from efface.scores.sets import FORGET, KNOWN_FACTS, MEMBERSHIP_SETS, check_names, sort_names


def score_path(
    path: str | Path,
    *,
    definition: str = "closer-look",
    against: str | Path | None = None,
    stage: Stage = "after",
    metrics: Sequence[RecordMetric] = (),
    refusals: Collection[str] | None = None,
) -> dict[str, Any]:
    """Score a run's folder, a folder of records or an eval log of other code; no model is needed.

    Args:
        path: The folder or log. A summary of open-unlearning has no questions: its aggregates are in `logged` alone.
        definition: Name of the score definition.
        against: The same of a model retrained without the forget set; adds `forget_quality`, with the truth ratio of
            `definition`, unless the forget set is running text.
        stage: Which records of a run's folder are read, in `against` too.
        metrics: Custom metrics, which are computed from records; an eval log has none.
        refusals: Wordings of "I don't know", in any case; unless None, `hallucinations` on the forget set are added.

    Returns:
        The JSON object that `efface score` prints: `definition`, `sets`, `model_utility`, `model_utility_retain`,
        `forget_efficacy`, `partial`, `missing`, `embedder`, `judge`; if requested `forget_quality` and
        `hallucinations`; of results of open-unlearning `logged`, their own aggregates; `definition_version`, where the
        definition has one; and `privacy_leakage` where the data has a holdout set.

    Raises:
        EffaceError: When definition or stage is unknown, a file is missing, damaged or of another format, or, with
            `against`, one of the two has no truth ratios on a forget set.
    """
    score_definition = find_definition(definition)
    logged = logged_aggregates(Path(path)) if Path(path).is_file() else None
    sets = {} if logged is not None and is_summary(Path(path)) else load(Path(path), stage=stage, metrics=metrics)
    membership = membership_sets(sets) or ()
    kept = _read(sets, [*membership, *([FORGET] if against is not None or refusals is not None else [])])
    retrained = None if against is None else _read(load(Path(against), stage=stage), [FORGET, *membership])
    sets |= kept  # read twice
    scores = score_sets(sets, score_definition, custom=[metric.name for metric in metrics]).model_dump()
    result = {"definition": score_definition.name, "sets": scores.pop("sets"), **scores}
    if score_definition.version is not None:
        result["definition_version"] = score_definition.version
    if logged is not None:
        result["logged"] = logged
    leakage = privacy_leakage(kept, retrained)
    if leakage is not None:
        result["privacy_leakage"] = leakage.model_dump()
    has_quality = leakage is None or any(question.perturbed_logps for question in kept.get(FORGET, ()))
    if against is not None and retrained is not None and has_quality:
        quality = forget_quality(_forget(kept, path), _forget(retrained, against), score_definition)
        result["forget_quality"] = quality.model_dump()
    if refusals is not None:
        result["hallucinations"] = hallucinations(kept.get(FORGET, []), refusals).model_dump()
    return result


def score_records(
    records: Mapping[str, Sequence[Record]], definition: str, metrics: Sequence[RecordMetric] = ()
) -> Scores:
    """Score records.

    Args:
        records: Set name -> records.
        definition: Name of the score definition.
        metrics: Custom metrics.

    Returns:
        The scores; a metric that cannot be computed is None, and `missing` says why.

    Raises:
        EffaceError: When definition or set is unknown, a set has no records, records are damaged, or a custom metric
            fails.
    """
    score_definition = find_definition(definition)
    if not records:
        raise EffaceError("the records have no evaluation set; run the evaluation again")
    check_names(records, where="the records")
    sets = {name: from_records(name, rows, where="the records", metrics=metrics) for name, rows in records.items()}
    return score_sets(sets, score_definition, custom=[metric.name for metric in metrics])


def score_sets(
    sets: Mapping[str, Iterable[MetricInputs]], definition: Definition, custom: Sequence[str] = ()
) -> Scores:
    """Score the questions of each set.

    Args:
        sets: Set name -> metric inputs of its questions, which are iterated over once.
        definition: The score definition.
        custom: Names of the custom metrics.

    Returns:
        The scores; a metric that cannot be computed is None, and `missing` says why.

    Raises:
        EffaceError: When the records of the sets come from more than one embedding model or judge.
    """
    scored = {name: score_set(name, sets[name], definition, custom) for name in sort_names(sets)}
    set_scores = {name: each.scores for name, each in scored.items()}
    return Scores(
        model_utility=aggregate.complete_model_utility(set_scores, definition),
        model_utility_retain=aggregate.model_utility_retain(set_scores, definition.utility_metrics),
        forget_efficacy=aggregate.forget_efficacy(aggregate.forget_sets(set_scores), definition.efficacy_metrics),
        partial=aggregate.partial_aggregates(set_scores, definition),
        missing={
            **explain_gaps(gap for name, each in scored.items() if name not in MEMBERSHIP_SETS for gap in each.gaps),
            **aggregate.explain_aggregates(set_scores, definition),
        },
        notes=_entropy_notes(scored, definition),
        embedder=_single_name("embedding model", (name for each in scored.values() for name in each.embedders)),
        judge=_single_name(  # known facts are judged by their key facts, whatever judges the other sets
            "judge", (name for set_, each in scored.items() if set_ != KNOWN_FACTS for name in each.judges)
        ),
        gibberish_detector=_single_name(
            "gibberish detector", (name for each in scored.values() for name in each.gibberish_detectors)
        ),
        sets=set_scores,
    )


def _entropy_notes(scored: Mapping[str, ScoredSet], definition: Definition) -> dict[str, str]:
    """What the token entropy counts where it is not what the definition counts."""
    counted = {name: each.entropy_tokens for name, each in scored.items()}
    note = entropy_note(counted, definition.entropy_tokens, definition.name)
    return {} if note is None else {"token_entropy": note}


def _single_name(model_type: str, names: Iterable[str]) -> str | None:
    """The only name among `names`; None if there is none."""
    distinct = sorted(set(names))
    if len(distinct) > 1:
        raise EffaceError(
            f"the records come from more than one {model_type} ({', '.join(distinct)}), so their scores are "
            "not comparable; evaluate all sets with one"
        )
    return distinct[0] if distinct else None


def _read(sets: Mapping[str, Iterable[MetricInputs]], names: Iterable[str]) -> dict[str, list[MetricInputs]]:
    """Those of the sets that are there, as lists."""
    return {name: list(sets[name]) for name in dict.fromkeys(names) if name in sets}


def _forget(sets: Mapping[str, Sequence[MetricInputs]], path: str | Path) -> Sequence[MetricInputs]:
    if FORGET not in sets:
        raise EffaceError(f"{path} has no forget set, and forget quality compares two; score without `against`")
    return sets[FORGET]
