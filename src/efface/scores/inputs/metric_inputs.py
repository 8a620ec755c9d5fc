"""The inputs of all metrics for one question, from records (`from_records.py`) or eval logs (`eval_logs.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from efface.artifacts import Metric, UncountedMetric

LABELS = ("entailment", "neutral", "contradiction", "none")
"""Labels of a judge; logs have `none` where ROUGE already rules entailment out."""

ROUNDING = 1e-3
"""How far half-precision sums may push a cosine above 1 or a log-probability above 0."""

LOWEST_LOGP = -1e39
"""Below the range of float32, the widest dtype of models: lower numbers are damaged, and their sums would overflow."""


@dataclass(frozen=True)
class Missing:
    """The reason why a number cannot be computed; replaces the number."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class MetricInputs:
    """A model's output and likelihoods for one question; None where the source does not have them.

    Log-probabilities are natural logs, averaged over the tokens of one answer.

    Raises:
        ValueError: When a number is not finite or out of range, or a label is not one of `LABELS`.
    """

    id: str
    output: str | None = None
    answer: str | None = None
    logged_rouge: float | None = None
    """ROUGE-L recall from the source, read only where it does not have the texts."""
    answer_logp: float | None = None
    paraphrase_logp: float | None = None
    """Of the correct answer in the truth ratio: the paraphrase, or `answer` in data without paraphrases."""
    perturbed_logps: tuple[float, ...] = ()
    """Of each wrong answer."""
    option_logps: tuple[float, ...] = ()
    """The same for the probability over options, where the source rounds it apart; `perturbed_logps` where empty."""
    token_entropy: float | None = None
    """Of the output's token ids as generated."""
    retokenized_entropy: float | None = None
    """Of the output's text tokenized again."""
    cosine_answer: float | None = None
    cosine_before: float | None = None
    predicted: tuple[bool, ...] | None = None
    """Whether the model predicts each token of the answer's text, given those before it."""
    logged_extraction_strength: float | None = None
    """From results of open-unlearning, which do not have which tokens the model predicts."""
    logged_exact_memorization: float | None = None
    """The same."""
    not_gibberish: float | None = None
    label: str | None = None
    premise: Literal["output", "answer"] = "output"
    """Which of the two must entail the other."""
    embedder: str | None = None
    judge: str | None = None
    gibberish_detector: str | None = None
    missing: Mapping[Metric | UncountedMetric, str] = field(default_factory=dict)
    """Why a metric cannot be computed, as the source says."""
    custom: Mapping[str, float | Missing] = field(default_factory=dict)
    """Custom and additional metrics by name, where they were computed from a record."""

    def __post_init__(self) -> None:
        for logp in (self.answer_logp, self.paraphrase_logp, *self.perturbed_logps, *self.option_logps):
            check_range("a log-probability", logp, LOWEST_LOGP, ROUNDING)
        for cosine in (self.cosine_answer, self.cosine_before):
            check_range("a cosine", cosine, -1 - ROUNDING, 1 + ROUNDING)
        for entropy in (self.token_entropy, self.retokenized_entropy):
            check_range("the token entropy", entropy, -ROUNDING, 1 + ROUNDING)
        check_range("the logged ROUGE", self.logged_rouge, 0, 1)
        check_range("the extraction strength", self.logged_extraction_strength, 0, 1)
        check_range("the exact memorization", self.logged_exact_memorization, 0, 1)
        check_range("the probability of being no gibberish", self.not_gibberish, 0, 1 + ROUNDING)
        if self.label is not None and self.label not in LABELS:
            raise ValueError(f"{self.label!r} is not an entailment label (allowed: {', '.join(LABELS)})")

    def explain_missing(self, metric: Metric, default: str) -> Missing:
        """Why `metric` is missing: the source's reason, or `default` where it has none."""
        return Missing(self.missing.get(metric, default))


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Check a number.

    Args:
        name: What it is, for the message.
        value: The number; None passes.
        low: Lowest allowed value.
        high: Highest allowed value.

    Raises:
        ValueError: When it is not finite or out of range.
    """
    if value is not None and not low <= value <= high:  # comparisons with NaN are false: it is refused, too
        raise ValueError(f"{name} is {value}, which is not between {low:g} and {high:g}")
