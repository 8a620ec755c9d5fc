"""Typed rows on disk: one `Record` per question and model, `Scores`, `Results`, `Manifest`. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from efface.atomic import write_text
from efface.errors import EffaceError
from efface.renamed import SCORE_KEYS

Metric = Literal["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity", "entailment"]
METRICS: tuple[Metric, ...] = (
    "rouge",
    "probability",
    "truth_ratio",
    "token_entropy",
    "cosine_similarity",
    "entailment",
)


class Record(BaseModel):
    """What one model said and believes about one question. Every score is made from these fields alone."""

    model_config = ConfigDict(extra="forbid", strict=True)

    set: str
    id: str
    question: str
    answer: str
    """The answer that ROUGE and probability compare with."""
    output: str
    """Greedy decoding, special tokens removed."""
    output_token_ids: list[int]
    """Ids of `output` as generated, without the end-of-sequence token."""
    answer_logprobs: list[float]
    """Natural-log probability of each token of `answer`, end-of-sequence included; never empty."""
    paraphrased_logprobs: list[float] | None
    """The same for the paraphrased answer; None where there is none (the truth ratio then uses `answer`)."""
    perturbed_logprobs: list[list[float]]
    """The same for each wrong answer; empty where there is none."""
    embedding_target: str
    embedder: str | None
    """Name of the sentence-embedding model; None when none was at hand."""
    cosine_answer: float | None
    """Cosine of the output with `embedding_target`, in [-1, 1], not clipped."""
    cosine_before: float | None
    """Cosine of the output with the output of the model before unlearning; 1.0 for that model itself."""
    entailment_target: str
    entailment_premise: Literal["output", "answer"]
    judge: str | None
    """Name of the NLI model, or `key-facts`; None when none was at hand."""
    entailment_label: str | None
    """`entailment`, `neutral` or `contradiction`."""
    missing: dict[Metric, str] = {}
    """Why a metric cannot be made from this record, in words."""


RecordSets = dict[str, list[Record]]
"""Name of an evaluation set -> one record per question."""


class SetScores(BaseModel):
    """The six metrics of one evaluation set, each in [0, 1]; None where it could not be had."""

    model_config = ConfigDict(extra="forbid")

    n: int
    rouge: float | None
    probability: float | None
    truth_ratio: float | None
    token_entropy: float | None
    cosine_similarity: float | None
    entailment: float | None
    custom: dict[str, float | None] = {}
    """Custom metrics by name, of any range; counted in no aggregate."""

    @model_validator(mode="before")
    @classmethod
    def _current_keys(cls, values: Any) -> Any:
        return (
            {SCORE_KEYS.get(key, key): value for key, value in values.items()} if isinstance(values, dict) else values
        )

    @model_serializer(mode="wrap")
    def _omit_custom_if_empty(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = written(self)
        return values if self.custom else {name: value for name, value in values.items() if name != "custom"}


class Partial(BaseModel):
    """Aggregates over the metrics that every set has, named in `metrics`."""

    model_config = ConfigDict(extra="forbid")

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None
    metrics: list[Metric]


class ForgetQuality(BaseModel):
    """Two-sample Kolmogorov-Smirnov test of forget-set truth ratios against a retrained model's (TOFU)."""

    model_config = ConfigDict(extra="forbid")

    p_value: float
    statistic: float


class Scores(BaseModel):
    """One model's scores under one definition; `efface.scores.definitions` says what each means."""

    model_config = ConfigDict(extra="forbid")

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None
    partial: Partial
    missing: dict[str, str]
    """Metric or aggregate -> why it is null."""
    embedder: str | None
    judge: str | None
    sets: dict[str, SetScores]


class EpochScores(BaseModel):
    """The scores at the end of an epoch."""

    model_config = ConfigDict(extra="forbid")

    epoch: int
    """Counted from 1."""
    step: int
    """How many optimizer steps were made."""
    scores: Scores


class Trajectory(BaseModel):
    """The scores epoch by epoch."""

    model_config = ConfigDict(extra="forbid")

    epochs: list[EpochScores]
    best: int | None
    """The epoch with the highest harmonic mean of model utility and forget efficacy (partial ones where the whole are
    missing), the earlier one of equals; None where one of the two cannot be had."""
    kept: int
    """The epoch whose model the run left."""


class TaskScore(BaseModel):
    """One model's score on one task, or group of tasks, of lm-evaluation-harness."""

    model_config = ConfigDict(extra="forbid")

    metric: str
    """In the library's words, with its filter behind a comma where it has a name: `exact_match,flexible-extract`."""
    value: float
    standard_error: float | None
    """None where the library gives none, as for a single question."""
    n: int
    """Number of questions; of a group, of all its tasks."""
    num_fewshot: int | None
    """Examples before each question; None where the tasks of a group differ in it."""


class Downstream(BaseModel):
    """`downstream.json`: what a model can do elsewhere, by lm-evaluation-harness."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    lm_eval: str
    """Version of the library, on which its tasks depend, too."""
    average: float
    """Arithmetic mean of the tasks' values, a group counting once; means something where all of them are shares."""
    tasks: dict[str, TaskScore]

    def to_json(self) -> dict[str, Any]:
        """As written to downstream.json."""
        return self.model_dump(by_alias=True)


class DownstreamResults(BaseModel):
    """The same tasks before and after unlearning."""

    model_config = ConfigDict(extra="forbid")

    before: Downstream
    after: Downstream


class Results(BaseModel):
    """`results.json` of a run: the same scores before and after unlearning."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    definition: str
    method: str
    before: Scores
    after: Scores
    trajectory: Trajectory | None = None
    downstream: DownstreamResults | None = None

    def to_json(self) -> dict[str, Any]:
        """As written to results.json; what was not asked for is left out."""
        unasked = {name for name in ("trajectory", "downstream") if getattr(self, name) is None}
        return self.model_dump(by_alias=True, exclude=unasked)


class ContinualResults(BaseModel):
    """`results.json` of a queue of requests: what each forget set scores over time."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    definition: str
    method: str
    requests: list[str]
    """What was asked to be forgotten, in order."""
    before: Scores
    """Of the first model: the sets to keep, and the forget set of every request as `forgotten-1` and so on."""
    after: list[Scores]
    """After each request: `forget` is what it asked for, `forgotten-1` and so on what earlier ones did."""
    metrics: list[Metric]
    """What the efficacies below are made of: those of the definition that all these sets have."""
    forget_efficacy: list[list[float | None]]
    """One row a request: its forget set before all requests, then after each; null after those that came before it."""
    downstream: list[Downstream] = []
    """Before all requests, then after each; empty where it was not asked for."""

    def to_json(self) -> dict[str, Any]:
        """As written to results.json; what was not asked for is left out."""
        return self.model_dump(by_alias=True, exclude=None if self.downstream else {"downstream"})


class Manifest(BaseModel):
    """What made a run, so that it can be repeated."""

    model_config = ConfigDict(extra="forbid")

    efface: str
    commit: str | None
    command: list[str]
    seed: int
    device: str
    precision: str
    optimizer: str | None = None
    """`adamw` or `adamw8bit`, which a resumed run goes on with; None where nothing is trained, or all by `adamw`."""
    versions: dict[str, str]
    data: dict[str, str]
    """Source -> SHA-256."""
    plugins: dict[str, str] = {}
    """The user's own objectives and metrics -> SHA-256 of the file that holds them."""
    tasks: dict[str, str] = {}
    """The user's own downstream task files, by their place in their folder -> SHA-256."""
    model: str
    model_sha256: str
    started: str
    """UTC, ISO 8601."""
    seconds: dict[str, float] = {}
    """Stage -> wall-clock seconds."""
    peak_memory_bytes: int | None = None
    notes: list[str] = []


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write one record per line, or nothing."""
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))


def read_records(path: Path) -> list[Record]:
    """Read what `write_records` wrote; a damaged line is refused by number, and so is a file without any."""
    records = list(stream_records(path))
    if not records:
        raise EffaceError(f"{path} holds no records; run the evaluation again")
    return records


def stream_records(path: Path) -> Iterator[Record]:
    """Read what `write_records` wrote, holding one record at a time; a damaged line is refused."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield _record(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise EffaceError(f"cannot read records {path}: {error}; run the evaluation again") from error


def _record(path: Path, number: int, line: str) -> Record:
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "line"
        raise EffaceError(
            f"{path}, line {number}: not an efface record ({where}: {problem['msg']}); run the evaluation again"
        ) from error
