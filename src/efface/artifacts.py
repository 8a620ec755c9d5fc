"""Types of the files in a run's folder: `Scores`, `Results`, `Manifest` and their parts. No torch."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from efface.audit_results import AuditResults
from efface.renamed import SCORE_KEYS
from efface.tune_results import KeepResult, TuneSummary

Metric = Literal["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity", "entailment"]
METRICS: tuple[Metric, ...] = get_args(Metric)
ExtraMetric = Literal["min_k", "rouge_l_f1"]
"""A metric that is computed for the sets of some benchmarks alone, in addition to the six; part of no aggregate."""


class Artifact(BaseModel, extra="forbid", populate_by_name=True):
    """The base of everything here: unknown fields are refused; aliases are the keys on disk."""


def _without_empty(values: dict[str, Any], field: str) -> dict[str, Any]:
    """`values` without a field that is empty."""
    return {name: value for name, value in values.items() if value or name != field}


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
    """Share of the answer that the model completes by itself; part of no aggregate. None where the source does not have
    which tokens the model predicts."""
    custom: dict[str, float | None] = {}
    """Custom and additional metrics by name, of any range; part of no aggregate."""

    @model_validator(mode="before")
    @classmethod
    def _current_keys(cls, values: Any) -> Any:
        return (
            {SCORE_KEYS.get(key, key): value for key, value in values.items()} if isinstance(values, dict) else values
        )

    @property
    def uncounted(self) -> dict[str, float | None]:
        """The metrics that no aggregate includes, by name: extraction strength where it is known, and custom ones."""
        known = {} if self.extraction_strength is None else {"extraction_strength": self.extraction_strength}
        return {**known, **self.custom}

    @model_serializer(mode="wrap")
    def _omit_if_unknown(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = _without_empty(written(self), "custom")
        if self.extraction_strength is None:
            del values["extraction_strength"]
        return values


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


class Scores(Artifact):
    """The scores of one model under one definition; they are defined in `efface.scores.definitions`."""

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None
    partial: Partial
    missing: dict[str, str]
    """Metric or aggregate -> why it is None."""
    notes: dict[str, str] = {}
    """Metric -> how it differs from the definition, on sets whose records or logs lack what the definition uses."""
    embedder: str | None
    judge: str | None
    sets: dict[str, SetScores]

    @model_serializer(mode="wrap")
    def _omit_notes_if_empty(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_empty(written(self), "notes")


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


class Share(Artifact):
    """How many of some questions, with the 95 % interval of their share (Wilson)."""

    count: int
    n: int
    low: float
    high: float


class AnswerTypes(Artifact):
    """How many answers of one model to one set are of which type."""

    n: int
    """Number of questions; the sum of the others."""
    right: int
    """They state the reference answer."""
    declined: int
    """They say that the model does not know."""
    made_up: int
    """They state something else."""
    silent: int
    """They have no word."""


class ForgetVerdict(Artifact):
    """Whether the forget sets were forgotten; the rule is in `efface.scores.verdict`."""

    state: Literal["forgot", "likely", "partly", "not", "undecided"]
    """`forgot`: nothing leaks or is likely. `likely`: no answer is stated, but some are still likely. `undecided`:
    nothing was known before."""
    known_before: int
    """Questions that were answered correctly before unlearning."""
    leaks: Share
    """Of all questions: those that are answered correctly after unlearning."""
    likely: Share
    """Of all questions: those whose answer is not stated, but is still likely."""


class RetainVerdict(Artifact):
    """What is left of the other sets."""

    state: Literal["kept", "some", "most", "undecided"]
    """`kept`, `some` was lost, `most` was lost, or `undecided`: nothing was known before."""
    n: int
    """Number of questions."""
    kept: Share
    """Of those that were answered correctly before: those that still are."""
    own_answers: bool = False
    """The references are the model's own earlier answers, so that this counts answers that did not change."""


class Verdict(Artifact):
    """Whether a model forgot, and what it kept."""

    forget: ForgetVerdict | None
    """None without a forget set."""
    retain: RetainVerdict | None
    """None without another set."""
    answers_before: dict[str, AnswerTypes]
    """Set -> types of the answers before unlearning."""
    answers_after: dict[str, AnswerTypes]
    """The same after unlearning."""


class Results(Artifact):
    """`results.json` of a run: the same scores before and after unlearning."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    definition: str
    method: str
    before: Scores
    after: Scores
    verdict: Verdict | None = None
    """None in earlier versions."""
    trajectory: Trajectory | None = None
    downstream: DownstreamResults | None = None
    audit: AuditResults | None = None
    keep: KeepResult | None = None
    tune: TuneSummary | None = None
    """Of `efface tune`; the scores are then those of questions that the search never looked at."""

    def to_json(self) -> dict[str, Any]:
        """The content of results.json; parts that are missing are omitted."""
        parts = ("verdict", "trajectory", "downstream", "audit", "keep", "tune")
        omitted = {name for name in parts if getattr(self, name) is None}
        return self.model_dump(by_alias=True, exclude=omitted)


class ContinualResults(Artifact):
    """`results.json` of a queue of unlearning requests: the scores of every forget set over time."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    definition: str
    method: str
    requests: list[str]
    """Names of the requests, in order."""
    before: Scores
    """Of the first model: the retain sets, and the forget set of every request as `forgotten-1` and so on."""
    after: list[Scores]
    """After each request: `forget` is its forget set, `forgotten-1` and so on are those of earlier requests."""
    metrics: list[Metric]
    """The metrics in the efficacies below: those of the definition that all these sets have."""
    forget_efficacy: list[list[float | None]]
    """[requests, 1 + requests]: of each forget set before all requests, then after each; None after earlier ones."""
    verdict: Verdict | None = None
    """On the model after the last request, against the first one; None in earlier versions."""
    downstream: list[Downstream] = []
    """Before all requests, then after each; empty if it was not requested."""

    def to_json(self) -> dict[str, Any]:
        """The content of results.json; parts that are missing are omitted."""
        omitted = {name for name in ("verdict", "downstream") if not getattr(self, name)}
        return self.model_dump(by_alias=True, exclude=omitted)


class AdapterOrigin(Artifact):
    """What the LoRA adapter that a run saves is for."""

    base: str
    """The model to load it onto: a local folder, or a name on the hub."""
    base_sha256: str
    continues: str | None
    """SHA-256 of the adapter that training went on with, whose change this one includes; None for a new one."""


class Hardware(Artifact):
    """The machine of a run, without its name."""

    system: str
    """Operating system and its version."""
    processor: str
    cores: int
    threads: int
    """With which torch computes."""
    memory_bytes: int
    gpus: list[str] = []
    """Name of each GPU that torch sees."""
    gpu_memory_bytes: list[int] = []
    """Of each GPU."""
    cuda: str | None = None
    """The version that torch was built for; None for a CPU build."""


class Manifest(Artifact):
    """`manifest.json`: everything that is needed to repeat a run, and what reviews of reproducibility ask for."""

    efface: str
    commit: str | None
    command: list[str]
    seed: int
    device: str
    precision: str
    optimizer: str | None = None
    """`adamw` or `adamw8bit`, which a resumed run continues with; None if nothing is trained, or all by `adamw`."""
    versions: dict[str, str]
    hardware: Hardware | None = None
    """None in earlier versions."""
    config_sha256: str | None = None
    """Of config.yaml; None in earlier versions."""
    method_pages: list[str] = []
    """Of the method of a run: the pages of this documentation with its formulas and their source."""
    data: dict[str, str]
    """Source -> SHA-256."""
    splits: dict[str, int] = {}
    """Of a run: `forget` and `retain`, which are trained on, and `evaluation/NAME` -> number of items."""
    defaults: dict[str, str] = {}
    """Of a run: setting that was not given, and whose best value depends on the model -> where its value comes from."""
    plugins: dict[str, str] = {}
    """Custom objectives and metrics -> SHA-256 of their file."""
    tasks: dict[str, str] = {}
    """Custom files of downstream tasks, by their path in their folder -> SHA-256."""
    model: str
    model_sha256: str
    parameters: int | None = None
    """Number of parameters of the model of a run; None in earlier versions."""
    tokenizer: str | None = None
    """Where the tokenizer was taken from; None for the model's folder."""
    tokenizer_sha256: str | None = None
    """Of the files of that tokenizer."""
    text: dict[str, Any] = {}
    """How texts became tokens: the settings under `text`, with the date that the chat template shows as today's. Empty
    in earlier versions, and where no text was formatted."""
    adapter: AdapterOrigin | None = None
    """Of the adapter in the run's folder; None if none is trained."""
    started: str
    """UTC, ISO 8601."""
    finished: str | None = None
    """When the last stage ended: UTC, ISO 8601; None before the first has, and in earlier versions."""
    seconds: dict[str, float] = {}
    """Stage -> wall-clock seconds."""
    peak_memory_bytes: int | None = None
    notes: list[str] = []
    files: dict[str, str] | None = None
    """SHA-256 of what the run wrote, by path in its folder; None for a run of an earlier version."""
    writing: dict[str, str] = {}
    """The same of files that are just being written, or were when the run was killed."""
    purged: list[str] = []
    """Files and folders that were removed on purpose, by path in the run's folder."""
