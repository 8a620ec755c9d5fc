"""Records: the outputs and log-probabilities of a model that scores are computed from, and their files. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from efface.artifacts import Artifact, ExtraMetric, Metric, UncountedMetric
from efface.errors import EffaceError
from efface.files.atomic import write_text
from efface.files.safe_read import read_lines
from efface.files.sums import check_file


class Record(Artifact, strict=True):
    """The output of one model for one question, and its log-probabilities: all that scores are computed from."""

    set: str
    id: str
    question: str
    answer: str
    """The reference answer of ROUGE and of the probability."""
    output: str
    """Greedy decoding, special tokens removed."""
    output_token_ids: list[int]
    """Ids of `output` as generated, without the end-of-sequence token."""
    retokenized_output_ids: list[int] | None = None
    """Ids of the text `output` tokenized again, as the published code does for the token entropy; None in records of
    earlier versions."""
    answer_logprobs: list[float]
    """Natural-log probability of each token of `answer`, end-of-sequence included; never empty."""
    answer_predicted: list[bool] | None = None
    """Whether the most likely token is the answer's, for each token of its text: end-of-sequence is not included. None
    in records of earlier versions."""
    paraphrased_logprobs: list[float] | None
    """The same for the paraphrased answer; None if there is none (the truth ratio then uses `answer`)."""
    perturbed_logprobs: list[list[float]]
    """The same for each wrong answer; empty if there is none."""
    embedding_target: str
    embedder: str | None
    """Name of the sentence-embedding model; None if none was available."""
    cosine_answer: float | None
    """Cosine of the output with `embedding_target`, in [-1, 1], not clipped."""
    cosine_before: float | None
    """Cosine of the output with the output of the model before unlearning; 1.0 for that model itself."""
    entailment_target: str
    entailment_premise: Literal["output", "answer"]
    judge: str | None
    """Name of the NLI model, or `key-facts`; None if none was available."""
    entailment_label: str | None
    """`entailment`, `neutral` or `contradiction`."""
    gibberish_detector: str | None = None
    """Name of the classifier; None without one."""
    not_gibberish: float | None = None
    """Probability that `output` is readable text, according to `gibberish_detector`."""
    missing: dict[Metric | UncountedMetric, str] = Field(default={})
    """Metric -> why it cannot be computed from this record."""
    extra_metrics: list[ExtraMetric] = Field(default=[])
    """Additional metrics to compute from this record."""

    @model_serializer(mode="wrap")
    def _omit_what_is_seldom_there(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        seldom: dict[str, Any] = {"extra_metrics": [], "gibberish_detector": None, "not_gibberish": None}
        return {name: value for name, value in written(self).items() if name not in seldom or value != seldom[name]}


RecordSets = dict[str, list[Record]]
"""Set name -> one record per question."""


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write one record per line, completely or not at all.

    Args:
        path: The file, JSON lines.
        records: One per question, in the order of the lines.

    Raises:
        EffaceError: The file cannot be written.
    """
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))


def read_records(path: Path) -> list[Record]:
    """Read what `write_records` wrote: at least one record.

    Raises:
        EffaceError: The file cannot be read or is empty, or a line is damaged; the message has its number.
    """
    records = list(stream_records(path))
    if not records:
        raise EffaceError(f"{path} has no records; run the evaluation again")
    return records


def stream_records(path: Path) -> Iterator[Record]:
    """Read what `write_records` wrote, one record at a time.

    Raises:
        EffaceError: The file cannot be read or is not what the run wrote, or a line is damaged; the message has its
            number.
    """
    try:
        check_file(path)
        for number, line in enumerate(read_lines(path), 1):
            yield _record(path, number, line)
    except OSError as error:
        raise EffaceError(f"cannot read records {path}: {error}; run the evaluation again") from error


def _record(path: Path, number: int, line: bytes) -> Record:
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "line"
        raise EffaceError(
            f"{path}, line {number}: not an efface record ({field}: {problem['msg']}); run the evaluation again"
        ) from error
