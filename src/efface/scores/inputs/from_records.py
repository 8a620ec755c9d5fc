"""Convert our records to metric inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from efface.errors import EffaceError
from efface.records import Record
from efface.scores.custom import RecordMetric, custom_score
from efface.scores.extra import extra_scores
from efface.scores.inputs.metric_inputs import LOWEST_LOGP, ROUNDING, MetricInputs, check_range
from efface.scores.means import mean
from efface.scores.metrics.token_entropy import normalized_entropy


def from_records(
    name: str, records: Iterable[Record], *, where: str, metrics: Sequence[RecordMetric] = ()
) -> Iterator[MetricInputs]:
    """Convert the records of one set, one at a time.

    Args:
        name: Name of the set.
        records: Its records.
        where: Where they come from; starts error messages.
        metrics: Custom metrics to apply.

    Yields:
        The metric inputs of each record.

    Raises:
        EffaceError: When the set has no records, a record belongs to another set, an id is repeated, a number is out of
            range, or a custom metric fails.
    """
    seen: set[str] = set()
    for record in records:
        location = f"{where}, set {name}, question {record.id}"
        if record.set != name:
            raise EffaceError(f"{location}: this record belongs to the set {record.set}; move it there")
        if record.id in seen:
            raise EffaceError(f"{location}: this id is repeated; keep one record for each question")
        try:
            inputs = _inputs(record, metrics)
        except ValueError as error:
            raise EffaceError(f"{location}: {error}; run the evaluation again") from error
        seen.add(record.id)
        yield inputs
    if not seen:
        raise EffaceError(f"{where}: the set {name} has no questions; run the evaluation again")


def _inputs(record: Record, metrics: Sequence[RecordMetric]) -> MetricInputs:
    paraphrased = record.answer_logprobs if record.paraphrased_logprobs is None else record.paraphrased_logprobs
    entropy = normalized_entropy(record.output_token_ids)
    return MetricInputs(
        id=record.id,
        output=record.output,
        answer=record.answer,
        answer_logp=_mean_logp("answer_logprobs", record.answer_logprobs),
        paraphrase_logp=_mean_logp("paraphrased_logprobs", paraphrased),
        perturbed_logps=tuple(_mean_logp("perturbed_logprobs", logps) for logps in record.perturbed_logprobs),
        token_entropy=entropy,
        retokenized_entropy=_retokenized_entropy(record, entropy),
        cosine_answer=record.cosine_answer,
        cosine_before=record.cosine_before,
        predicted=None if record.answer_predicted is None else tuple(record.answer_predicted),
        label=None if record.entailment_label is None else record.entailment_label.strip().lower(),
        premise=record.entailment_premise,
        embedder=record.embedder,
        judge=record.judge,
        not_gibberish=record.not_gibberish,
        gibberish_detector=record.gibberish_detector,
        missing=record.missing,
        custom=extra_scores(record) | {metric.name: custom_score(metric, record) for metric in metrics},
    )


def _retokenized_entropy(record: Record, generated: float) -> float | None:
    """Entropy of the output tokenized again, given that of the generated ids, which most often are the same."""
    ids = record.retokenized_output_ids
    return generated if ids == record.output_token_ids else None if ids is None else normalized_entropy(ids)


def _mean_logp(name: str, logps: Sequence[float]) -> float:
    if not logps:
        raise ValueError(f"{name} is empty, and an answer has at least one token")
    in_range = min(logps) >= LOWEST_LOGP and max(logps) <= ROUNDING
    average = mean(logps) if in_range else math.nan
    if math.isnan(average):  # min and max may skip a NaN
        for logp in logps:  # each of them: a mean could hide one that is too high
            check_range(f"a number of {name}", logp, LOWEST_LOGP, ROUNDING)
    return average
