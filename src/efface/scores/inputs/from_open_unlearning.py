"""Convert results of open-unlearning to metric inputs: `TOFU_EVAL.json`, `MUSE_EVAL.json` and their `_SUMMARY.json`.

An EVAL file has one block per metric: `agg_value`, and mostly `value_by_index` with one entry per question. A SUMMARY
file has the aggregate of each metric alone. Format of github.com/locuslab/open-unlearning, src/evals/base.py.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from efface.errors import EffaceError, suggest
from efface.scores.inputs.metric_inputs import LOWEST_LOGP, ROUNDING, MetricInputs, check_range
from efface.scores.metrics.rouge import rouge_l_f1

SETS = {"retain": "retain", "ra": "real_authors", "wf": "world_facts", "forget": "forget"}
"""Prefix of TOFU's metrics -> name of the set."""
_WITHOUT_PARAPHRASES = ("ra", "wf")
"""Sets whose truth ratio compares with the answer itself."""
_MUSE_SETS = {
    "retain_knowmem_ROUGE": "retain",
    "forget_verbmem_ROUGE": "forget",
    "forget_knowmem_ROUGE": "forget_knowledge",
}
"""Metric of MUSE -> name of the set that it is computed from."""
_PARTS = ("Q_A_Prob", "Q_A_PARA_Prob", "Q_A_PERT_Prob", "Q_A_ROUGE")
"""Metrics of a TOFU set that scores are computed from."""
_OTHER_PARTS = (
    *("Q_A_PARA_ROUGE", "Q_A_PERT_ROUGE", "Q_A_Prob_normalised", "Q_A_gibberish"),
    *("Truth_Ratio", "truth_ratio", "truth_ratio_prob_mean"),
)
_SINGLE_SCORES = {
    "extraction_strength": ("forget", "logged_extraction_strength"),
    "exact_memorization": ("forget", "logged_exact_memorization"),
    "forget_gibberish": ("forget", "not_gibberish"),
    **{f"{prefix}_Q_A_gibberish": (name, "not_gibberish") for prefix, name in SETS.items()},
}
"""Metric with one `score` for each question of a set -> the set, and the field of `MetricInputs`."""
METRICS = frozenset(
    {
        *(f"{prefix}_{part}" for prefix in SETS for part in (*_PARTS, *_OTHER_PARTS)),
        *_MUSE_SETS,
        *("forget_gibberish", "forget_quality", "model_utility", "privleak", "rel_diff"),
        *("extraction_strength", "exact_memorization", "mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus"),
        *("mia_gradnorm", "mia_reference"),
    }
)
"""Metrics of its configurations configs/eval/tofu_metrics and configs/eval/muse_metrics."""
_REMEDY = "evaluate the model again with open-unlearning"


def is_summary(log: Mapping[str, Any]) -> bool:
    """Whether parsed JSON is a SUMMARY file."""
    return _has_own_metric(log) and not any(isinstance(each, dict) for each in log.values())


def is_eval(log: Mapping[str, Any]) -> bool:
    """Whether parsed JSON is an EVAL file."""
    blocks = [each for each in log.values() if isinstance(each, dict)]
    return bool(blocks) and (_has_own_metric(log) or any("agg_value" in block for block in blocks))


def _has_own_metric(log: Mapping[str, Any]) -> bool:
    return any(name in METRICS for name in log)


def read_sets(log: Mapping[str, Any], path: Path) -> dict[str, list[MetricInputs]]:
    """Convert an EVAL file.

    Args:
        log: The parsed file.
        path: The file, for messages.

    Returns:
        Set name -> metric inputs of its questions, in the order of their indices.

    Raises:
        EffaceError: A metric is unknown, a block is not finished or damaged, or there are no questions; the message
            names file, metric and question.
    """
    _check_names(log, path)
    sets = {name: _tofu_set(log, prefix, path) for prefix, name in SETS.items() if _has_set(log, prefix)}
    for metric, name in _MUSE_SETS.items():
        if metric in log:
            sets[name] = _muse_set(_entries(log, metric, path), f"{path}, {metric}")
    for metric, (name, field) in _SINGLE_SCORES.items():
        if metric in log and name in sets:
            sets[name] = _with_scores(sets[name], field, _entries(log, metric, path), f"{path}, {metric}")
    if not sets:
        raise EffaceError(
            f"{path}: none of its metrics has the answers of questions ({', '.join(log)}); {_REMEDY}, with the metrics "
            "of its eval/tofu.yaml or eval/muse.yaml"
        )
    return sets


def aggregates(log: Mapping[str, Any], path: Path) -> dict[str, float | None]:
    """The aggregate of each metric of an EVAL or SUMMARY file, as it is there; None for one that could not be computed.

    Args:
        log: The parsed file.
        path: The file, for messages.

    Returns:
        Metric -> aggregate; None where it is null or not finite.

    Raises:
        EffaceError: A metric is unknown, or its aggregate is no number.
    """
    _check_names(log, path)
    return {
        name: _aggregate(block.get("agg_value") if isinstance(block, dict) else block, f"{path}, {name}")
        for name, block in log.items()
    }


def _aggregate(value: object, where: str) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise EffaceError(f"{where}: the aggregate is {reprlib.repr(value)} and no number; {_REMEDY}")
    number = None if value is None else _to_float(value)
    return number if number is not None and math.isfinite(number) else None


def _check_names(log: Mapping[str, Any], path: Path) -> None:
    for name in log:
        if name not in METRICS:
            raise EffaceError(
                f"{path}: {name!r} is no metric of open-unlearning that is known; {suggest(name, METRICS)}"
            )


def _has_set(log: Mapping[str, Any], prefix: str) -> bool:
    return any(f"{prefix}_{part}" in log for part in _PARTS)


def _tofu_set(log: Mapping[str, Any], prefix: str, path: Path) -> list[MetricInputs]:
    parts = {part: _entries(log, f"{prefix}_{part}", path) for part in _PARTS if f"{prefix}_{part}" in log}
    first, indices = next((part, set(entries)) for part, entries in parts.items())
    for part, entries in parts.items():
        if set(entries) != indices:
            raise EffaceError(
                f"{path}, {prefix}_{part}: it has {len(entries)} questions and {prefix}_{first} {len(indices)}, or not "
                f"the same indices; {_REMEDY}"
            )
    questions = []
    for index in sorted(indices):
        try:
            questions.append(_question(index, prefix, {part: entries[index] for part, entries in parts.items()}))
        except ValueError as error:
            raise EffaceError(f"{path}, {prefix}, question {index}: {error}; {_REMEDY}") from error
    return questions


def _muse_set(entries: Mapping[int, Mapping[str, Any]], where: str) -> list[MetricInputs]:
    questions = []
    for index in sorted(entries):
        try:
            texts = _texts(entries[index])
            custom = {"rouge_l_f1": rouge_l_f1(texts["answer"], texts["output"])} if entries[index] else {}
            questions.append(MetricInputs(id=str(index), **texts, custom=custom))
        except ValueError as error:
            raise EffaceError(f"{where}, question {index}: {error}; {_REMEDY}") from error
    return questions


def _with_scores(
    questions: Sequence[MetricInputs], field: str, entries: Mapping[int, Mapping[str, Any]], where: str
) -> list[MetricInputs]:
    """The same questions with one more number each; `score` is null where their code cannot compute it."""
    if {str(index) for index in entries} != {question.id for question in questions}:
        raise EffaceError(
            f"{where}: it has {len(entries)} questions and the other metrics of its set {len(questions)}, or not the "
            f"same indices; {_REMEDY}"
        )
    found = []
    for question in questions:
        entry = entries[int(question.id)]
        try:
            score = None if entry.get("score", 0) is None else _only(tuple(_numbers(entry, "score")))
            changes: dict[str, Any] = {field: score}
            found.append(replace(question, **changes))
        except ValueError as error:
            raise EffaceError(f"{where}, question {question.id}: {error}; {_REMEDY}") from error
    return found


def _entries(log: Mapping[str, Any], metric: str, path: Path) -> dict[int, Mapping[str, Any]]:
    """Index -> entry of `value_by_index`."""
    block = log[metric]
    entries = block.get("value_by_index") if isinstance(block, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise EffaceError(f"{path}, {metric}: it has no value_by_index, so its evaluation was not finished; {_REMEDY}")
    found: dict[int, Mapping[str, Any]] = {}
    for key, entry in entries.items():
        if not key.isdecimal():
            raise EffaceError(f"{path}, {metric}: {key!r} is not the index of a question; {_REMEDY}")
        if not isinstance(entry, dict):
            raise EffaceError(f"{path}, {metric}, question {key}: {reprlib.repr(entry)} is no result; {_REMEDY}")
        found[int(key)] = entry
    return found


def _question(index: int, prefix: str, parts: Mapping[str, Mapping[str, Any]]) -> MetricInputs:
    answer, wrong = parts.get("Q_A_Prob"), parts.get("Q_A_PERT_Prob")
    paraphrase = answer if prefix in _WITHOUT_PARAPHRASES else parts.get("Q_A_PARA_Prob")
    return MetricInputs(
        id=str(index),
        **_texts(parts.get("Q_A_ROUGE", {})),
        answer_logp=None if answer is None else _only(_from_probabilities(answer)),
        paraphrase_logp=None if paraphrase is None else _only(_from_losses(paraphrase)),
        perturbed_logps=() if wrong is None else _from_losses(wrong),
        option_logps=() if wrong is None else _from_probabilities(wrong),
    )


def _texts(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Output, answer and ROUGE of a question; none of an empty entry."""
    texts = {ours: entry.get(theirs) for ours, theirs in (("output", "generation"), ("answer", "ground_truth"))}
    if entry and not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("its ROUGE has no texts generation and ground_truth")
    return texts


def _only(numbers: tuple[float, ...]) -> float:
    if len(numbers) != 1:
        raise ValueError(f"one number is expected for the correct answer, not {len(numbers)}")
    return numbers[0]


def _from_losses(entry: Mapping[str, Any]) -> tuple[float, ...]:
    """Mean token log-probabilities."""
    losses = _numbers(entry, "avg_loss")
    for loss in losses:
        check_range("a loss", loss, -ROUNDING, -LOWEST_LOGP)
    return tuple(-loss for loss in losses)


def _from_probabilities(entry: Mapping[str, Any]) -> tuple[float, ...]:
    """The same from probabilities as they were written, rounded to float32; from the losses where they underflow."""
    probabilities, logps = _numbers(entry, "prob"), _from_losses(entry)
    for probability in probabilities:
        check_range("a probability", probability, 0, 1 + ROUNDING)
    if len(probabilities) != len(logps):
        raise ValueError(f"prob has {len(probabilities)} numbers, and avg_loss {len(logps)}")
    pairs = zip(probabilities, logps, strict=True)
    return tuple(math.log(probability) if probability > 0 else logp for probability, logp in pairs)


def _numbers(entry: Mapping[str, Any], key: str) -> list[float]:
    """One number, or a list of them."""
    value = entry.get(key)
    numbers: list[float] = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, bool) or not isinstance(each, int | float):
            raise ValueError(f"{key} is {reprlib.repr(value)}, and a number or a list of them is expected")
        numbers.append(_to_float(each))
    return numbers


def _to_float(value: float) -> float:
    """JSON has whole numbers of any size."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
