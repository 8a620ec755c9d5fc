"""Our own records as questions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from efface.artifacts import Record
from efface.errors import EffaceError
from efface.scores.custom import RecordMetric, custom_score
from efface.scores.means import mean
from efface.scores.metrics.token_entropy import normalized_entropy
from efface.scores.question import LOWEST_LOGP, ROUNDING, MetricInputs, check_range


def from_records(
    name: str, records: Iterable[Record], *, where: str, metrics: Sequence[RecordMetric] = ()
) -> Iterator[MetricInputs]:
    """Turn the records of the set `name` into questions, one at a time; `where` opens the message of an error.

    `metrics` are the user's own. Raises `EffaceError` for a set without records, a record of another set, an id that
    comes twice, numbers that cannot be scored, and an own metric that fails.
    """
    seen: set[str] = set()
    for record in records:
        here = f"{where}, set {name}, question {record.id}"
        if record.set != name:
            raise EffaceError(f"{here}: this record belongs to the set {record.set}; put it there")
        if record.id in seen:
            raise EffaceError(f"{here}: this id comes twice; keep one record for each question")
        try:
            question = _question(record, metrics)
        except ValueError as error:
            raise EffaceError(f"{here}: {error}; run the evaluation again") from error
        seen.add(record.id)
        yield question
    if not seen:
        raise EffaceError(f"{where}: the set {name} has no questions; run the evaluation again")


def _question(record: Record, metrics: Sequence[RecordMetric]) -> MetricInputs:
    right = record.answer_logprobs if record.paraphrased_logprobs is None else record.paraphrased_logprobs
    return MetricInputs(
        id=record.id,
        output=record.output,
        answer=record.answer,
        answer_logp=_mean_logp("answer_logprobs", record.answer_logprobs),
        paraphrase_logp=_mean_logp("paraphrased_logprobs", right),
        perturbed_logps=tuple(_mean_logp("perturbed_logprobs", logps) for logps in record.perturbed_logprobs),
        token_entropy=normalized_entropy(record.output_token_ids),
        cosine_answer=record.cosine_answer,
        cosine_before=record.cosine_before,
        label=None if record.entailment_label is None else record.entailment_label.strip().lower(),
        embedder=record.embedder,
        judge=record.judge,
        missing=record.missing,
        custom={metric.name: custom_score(metric, record) for metric in metrics},
    )


def _mean_logp(name: str, logps: Sequence[float]) -> float:
    if not logps:
        raise ValueError(f"{name} is empty, and an answer has at least one token")
    if not _in_range(logps):  # each of them: a mean would hide one that is too high behind the others
        for logp in logps:
            check_range(f"a number of {name}", logp, LOWEST_LOGP, ROUNDING)
    return mean(logps)


def _in_range(logps: Sequence[float]) -> bool:
    """Whether `check_range` would pass all of them, which takes it ten times as long; min and max may skip a NaN."""
    return min(logps) >= LOWEST_LOGP and max(logps) <= ROUNDING and not math.isnan(sum(logps))
