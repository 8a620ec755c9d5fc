"""One question as all metrics see it: made from a `Record` here, from a foreign eval log in `foreign.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from efface.artifacts import Metric, Record
from efface.errors import EffaceError
from efface.scores.arithmetic import mean
from efface.scores.token_entropy import token_entropy

LABELS = ("entailment", "neutral", "contradiction", "none")
"""What a judge may say; logs hold `none` where ROUGE already ruled entailment out."""

ROUNDING = 1e-3
"""How far half-precision sums may push a cosine above 1 or a log-probability above 0."""

LOWEST_LOGP = -1e39
"""Below what float32, the widest type models run in, can hold: no log-probability, and sums would overflow."""


@dataclass(frozen=True)
class Missing:
    """Stands where a number would be, and says why there is none."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one model said and believes about one question; None where the source does not say.

    Log-probabilities are natural logs, averaged over the tokens of one answer. Raises `ValueError` for numbers
    that are not finite or out of range, and for labels that no judge gives.
    """

    id: str
    output: str | None = None
    answer: str | None = None
    logged_rouge: float | None = None
    """ROUGE-L recall as the source has it, read only where it lacks the texts."""
    answer_logp: float | None = None
    paraphrase_logp: float | None = None
    """Of the right answer in the truth ratio: the paraphrase, or `answer` in data without paraphrases."""
    perturbed_logps: tuple[float, ...] = ()
    """Of each wrong answer."""
    token_entropy: float | None = None
    cosine_answer: float | None = None
    cosine_before: float | None = None
    label: str | None = None
    embedder: str | None = None
    judge: str | None = None
    missing: Mapping[Metric, str] = field(default_factory=dict)
    """Why a metric cannot be made, in the source's own words."""

    def __post_init__(self) -> None:
        for name in ("answer_logp", "paraphrase_logp"):
            _check_range(name, getattr(self, name), LOWEST_LOGP, ROUNDING)
        for logp in self.perturbed_logps:
            _check_range("a perturbed answer's log-probability", logp, LOWEST_LOGP, ROUNDING)
        for name in ("cosine_answer", "cosine_before"):
            _check_range(name, getattr(self, name), -1 - ROUNDING, 1 + ROUNDING)
        _check_range("token entropy", self.token_entropy, -ROUNDING, 1 + ROUNDING)
        _check_range("ROUGE", self.logged_rouge, 0, 1)
        if self.label is not None and self.label not in LABELS:
            raise ValueError(f"{self.label!r} is no entailment label (allowed: {', '.join(LABELS)})")

    def lacks(self, metric: Metric, otherwise: str) -> Missing:
        """Why `metric` is missing here: the source's reason, or else `otherwise`."""
        return Missing(self.missing.get(metric, otherwise))


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:  # NaN compares false, and is refused with the rest
        raise ValueError(f"{name} is {value}, which is not between {low:g} and {high:g}")


def from_records(name: str, records: Sequence[Record], *, where: str) -> list[Question]:
    """Turn the records of the set `name` into questions; `where` opens the message of an error.

    Raises `EffaceError` for a set without records, a record of another set, an id that comes twice and numbers
    that cannot be scored.
    """
    if not records:
        raise EffaceError(f"{where}: the set {name} has no questions; run the evaluation again")
    questions: dict[str, Question] = {}
    for record in records:
        here = f"{where}, set {name}, question {record.id}"
        if record.set != name:
            raise EffaceError(f"{here}: this record belongs to the set {record.set}; put it there")
        if record.id in questions:
            raise EffaceError(f"{here}: this id comes twice; keep one record for each question")
        try:
            questions[record.id] = _from_record(record)
        except ValueError as error:
            raise EffaceError(f"{here}: {error}; run the evaluation again") from error
    return list(questions.values())


def _from_record(record: Record) -> Question:
    right = record.answer_logprobs if record.paraphrased_logprobs is None else record.paraphrased_logprobs
    return Question(
        id=record.id,
        output=record.output,
        answer=record.answer,
        answer_logp=_mean_logp("answer_logprobs", record.answer_logprobs),
        paraphrase_logp=_mean_logp("paraphrased_logprobs", right),
        perturbed_logps=tuple(_mean_logp("perturbed_logprobs", logps) for logps in record.perturbed_logprobs),
        token_entropy=token_entropy(record.output_token_ids),
        cosine_answer=record.cosine_answer,
        cosine_before=record.cosine_before,
        label=None if record.entailment_label is None else record.entailment_label.strip().lower(),
        embedder=record.embedder,
        judge=record.judge,
        missing=record.missing,
    )


def _mean_logp(name: str, logps: Sequence[float]) -> float:
    if not logps:
        raise ValueError(f"{name} is empty, and an answer has at least one token")
    for logp in logps:
        _check_range(f"a number of {name}", logp, LOWEST_LOGP, ROUNDING)
    return mean(logps)
