"""One question as all metrics see it, made by `records.py` from a `Record` or by `foreign.py` from an eval log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from efface.artifacts import Metric

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
class MetricInputs:
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
    custom: Mapping[str, float | Missing] = field(default_factory=dict)
    """The user's own metrics by name, where a record was there to make them from."""

    def __post_init__(self) -> None:
        for logp in (self.answer_logp, self.paraphrase_logp, *self.perturbed_logps):
            check_range("a log-probability", logp, LOWEST_LOGP, ROUNDING)
        for cosine in (self.cosine_answer, self.cosine_before):
            check_range("a cosine", cosine, -1 - ROUNDING, 1 + ROUNDING)
        check_range("the token entropy", self.token_entropy, -ROUNDING, 1 + ROUNDING)
        check_range("the logged ROUGE", self.logged_rouge, 0, 1)
        if self.label is not None and self.label not in LABELS:
            raise ValueError(f"{self.label!r} is no entailment label (allowed: {', '.join(LABELS)})")

    def lacks(self, metric: Metric, otherwise: str) -> Missing:
        """Why `metric` is missing here: the source's reason, or else `otherwise`."""
        return Missing(self.missing.get(metric, otherwise))


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise `ValueError` for a number that is not finite or not between `low` and `high`."""
    if value is not None and not low <= value <= high:  # NaN compares false, and is refused with the rest
        raise ValueError(f"{name} is {value}, which is not between {low:g} and {high:g}")
