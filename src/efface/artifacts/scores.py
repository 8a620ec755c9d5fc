"""The scores of models: by set, aggregated, after each epoch, and on downstream tasks. No torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from efface.artifacts.base import UNCOUNTED_METRICS, Artifact, Metric, without_empty
from efface.renamed import SCORE_KEYS


class SetScores(Artifact):
    """The six metrics of one evaluation set, each in [0, 1]; None if it could not be computed."""

    n: int
    """Number of questions."""
    rouge: float | None
    probability: float | None
    truth_ratio: float | None
    token_entropy: float | None
    cosine_similarity: float | None
    entailment: float | None
    extraction_strength: float | None = None
    """Share of the answer that the model completes by itself; part of no aggregate, as are the next four. None where
    the source does not have which tokens the model predicts."""
    exact_memorization: float | None = None
    """Share of the answer's tokens that the model predicts; None, too, where the definition does not include it."""
    not_gibberish: float | None = None
    """Probability that the output is readable text, according to a classifier; None without one."""
    truth_ratio_prob_mean: float | None = None
    """Probability of the correct answer among itself and the wrong ones; None, too, where the definition does not
    include it, as the next."""
    rouge_1_recall: float | None = None
    """Share of the answer's words that the output has, in any order."""
    custom: dict[str, float | None] = Field(default={})
    """Custom and additional metrics by name, of any range; part of no aggregate."""

    @model_validator(mode="before")
    @classmethod
    def _current_keys(cls, values: Any) -> Any:
        return (
            {SCORE_KEYS.get(key, key): value for key, value in values.items()} if isinstance(values, dict) else values
        )

    @property
    def uncounted(self) -> dict[str, float | None]:
        """The metrics that no aggregate includes, by name: built-in ones where they are known, and custom ones."""
        known = {name: getattr(self, name) for name in UNCOUNTED_METRICS}
        return {**{name: value for name, value in known.items() if value is not None}, **self.custom}

    @model_serializer(mode="wrap")
    def _omit_if_unknown(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = without_empty(written(self), "custom")
        return {name: value for name, value in values.items() if value is not None or name not in UNCOUNTED_METRICS}


class Partial(Artifact):
    """Aggregates over those metrics that every set has."""

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None
    metrics: list[Metric]


class ForgetQuality(Artifact):
    """Two-sample Kolmogorov-Smirnov test of forget-set truth ratios against those of a retrained model (TOFU)."""

    p_value: float
    statistic: float


class PrivacyLeakage(Artifact):
    """How well Min-40% probability tells members of the training set from unseen items (MUSE, arXiv:2407.06460)."""

    auc: float
    """0.5: not at all, 1: always."""
    auc_retrained: float | None
    """The same of a model trained without the forget set; None without one."""
    privleak: float | None
    """In percent, 0 where the AUC is that of the retrained model; below 0 too little was forgotten."""
    rel_diff: float | None = None
    """How far the AUC is above that of the retrained model, in percent of the latter; None without one."""


class Scores(Artifact):
    """The scores of one model under one definition; they are defined in `efface.scores.definitions`."""

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None
    partial: Partial
    missing: dict[str, str]
    """Metric or aggregate -> why it is None."""
    notes: dict[str, str] = Field(default={})
    """Metric -> how it differs from the definition, on sets whose records or logs lack what the definition uses."""
    embedder: str | None
    judge: str | None
    gibberish_detector: str | None = None
    sets: dict[str, SetScores]

    @model_serializer(mode="wrap")
    def _omit_what_is_seldom_there(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(without_empty(written(self), "notes"), "gibberish_detector")


class EpochScores(Artifact):
    """The scores after an epoch."""

    epoch: int
    """Counted from 1."""
    step: int
    """Number of optimizer steps up to the end of the epoch."""
    scores: Scores


class Trajectory(Artifact):
    """The scores after each epoch of an unlearning run, and which epoch's model was selected."""

    epochs: list[EpochScores]
    best: int | None
    """The epoch with the highest harmonic mean of model utility and forget efficacy (the partial ones if the full ones
    are missing), the first of equals; None if one of the two cannot be computed."""
    kept: int
    """The epoch whose model the run saved."""


class TaskScore(Artifact):
    """The score of one model on one task, or group of tasks, of lm-evaluation-harness."""

    metric: str
    """Name in the library, with the filter after a comma if it has a name: `exact_match,flexible-extract`."""
    value: float
    standard_error: float | None
    """None if the library has none, as for a single question."""
    n: int
    """Number of questions, for a group of all its tasks."""
    num_fewshot: int | None
    """Examples before each question; None if the tasks of a group differ."""


class Downstream(Artifact):
    """`downstream.json`: scores of one model on tasks of lm-evaluation-harness."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    lm_eval: str
    """Version of the library; its tasks depend on it."""
    average: float
    """Arithmetic mean of the values, a group counting once; meaningful only if all of them are fractions."""
    tasks: dict[str, TaskScore]

    def to_json(self) -> dict[str, Any]:
        """The content of downstream.json."""
        return self.model_dump(by_alias=True)


class DownstreamResults(Artifact):
    """The same tasks before and after unlearning."""

    before: Downstream
    after: Downstream
