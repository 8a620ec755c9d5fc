"""What a record says: its fields, and its words, which are fixed."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from pydantic import Field

from efface.frozen import FrozenModel

PREDICATE_TYPE: Final = "urn:uuid:28bec65b-fc6c-4b63-aaa4-e99ccebfff3e"
"""Version 1 of `Predicate`: a random UUID, since nobody can come to own it as they could a domain or a project."""
EARLIER_PREDICATE_TYPE: Final = "https://pypi.org/project/efface/unlearning-record/v1"
"""That of records that earlier versions made."""
MEANING = (
    "This record says which request was processed, with which tool, settings and model files, and what the tool "
    "measured before and after. The measurements are those of the named evaluation; information from the request may "
    "remain in the model, and in the places of the open actions. Whether the request has been met is for the reader to "
    "decide."
)
TEXTS = (
    "The texts of the request appear as a keyed digest only. Whoever has the key and the texts can check that they are "
    "the ones; without the key the digest identifies nothing, and once the key is destroyed nobody can use it."
)
AUDIT = "The facts were not brought back, or brought back, by the attacks that are named. Other attacks may find more."
Action = Literal[
    "source-data",
    "run-texts",
    "model-before",
    "earlier-checkpoints",
    "derived-models",
    "published-models",
    "caches",
    "backups",
    "text-key",
]
ACTIONS: dict[Action, str] = {
    "source-data": "Delete the texts of the request from the source data and its copies.",
    "run-texts": "Remove the texts from the folder of the run (efface purge).",
    "model-before": "Withdraw the model before unlearning from use, and delete it where the request demands it.",
    "earlier-checkpoints": "Delete checkpoints of earlier trainings that saw the texts.",
    "derived-models": "Replace models made from the model before: fine-tuned, merged, quantized or distilled.",
    "published-models": "Replace published copies, with the history of their repositories.",
    "caches": "Clear caches of data sets, models and of the serving system, and its logs.",
    "backups": "Note when backups that have the texts or the model before expire.",
    "text-key": "Destroy the key of the texts when nobody needs to check them anymore.",
}
assert get_args(Action) == tuple(ACTIONS)


class Digest(FrozenModel):
    """Of one file."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class ModelFile(FrozenModel):
    """A file of the model after unlearning."""

    name: str
    """Its place in the model's folder."""
    digest: Digest


class Texts(FrozenModel):
    """The texts of the request, which are not in the record."""

    items: int
    algorithm: Literal["HMAC-SHA256"] = "HMAC-SHA256"
    root: str = Field(pattern="^[0-9a-f]{64}$")
    key_id: str
    read_as: dict[str, Any]
    """How the items are read from a file or benchmark."""
    meaning: str = TEXTS


class ModelDigests(FrozenModel):
    """A model, by the digests of its files."""

    sha256: str
    """Of the names and digests of all files that it is loaded from."""
    files: dict[str, str] | None
    """Place in the model's folder -> SHA-256; None where the files were not there when the record was made."""


class ModelScores(FrozenModel):
    """Scores of one model, each in [0, 1]; None if they could not be computed."""

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None
    partial: dict[str, Any]
    """The same over those metrics that every evaluation set has."""
    sets: dict[str, dict[str, float | None]]


class Counted(FrozenModel):
    """How many of some questions."""

    k: int
    n: int


class Counts(FrozenModel):
    """What the verdict counts; None for sets that the run does not have."""

    known_before: int | None
    """Questions of the forget sets that were answered correctly before."""
    leaks: Counted | None
    """Of all questions of the forget sets: those that still are."""
    kept: Counted | None
    """Of the questions of other sets that were answered correctly before: those that still are."""


class Measurements(FrozenModel):
    """What the tool measured."""

    definition: str
    before: ModelScores
    after: ModelScores
    verdict: Counts | None = None
    """None in records of earlier versions, and where nothing was counted."""
    judge: str | None = None
    """What labels outputs: its name if it is built in or the published default; of another model `sha256:` and the
    digest of its files as they were when the record was made, or `unknown` where they were gone. None without one, and
    in records of earlier versions."""
    embedder: str | None = None
    """What compares outputs, in the same form."""


class Audited(FrozenModel):
    """What an audit brought back of the facts that the model knew before: counts alone, no texts."""

    recoverable: dict[str, Any]
    """`k` of `n` facts, with the interval of their share."""
    excess: dict[str, Any] | None
    """Over a control, with its interval; None without one."""
    control_sha256: str | None
    attacks: dict[str, float | None]
    """Attack -> share of the facts that it brought back; None for one without hits."""
    level: str
    meaning: str = AUDIT


class Queue(FrozenModel):
    """The place in a queue of requests."""

    number: int
    previous: str | None
    """SHA-256 of the record of the request before; None if it was not given."""


class OpenAction(FrozenModel):
    """Something that is done outside of the tool."""

    action: Action
    what: str
    done: bool


class Signer(FrozenModel):
    """Who signed, as far as the record knows: a key."""

    key_id: str
    public_key: str


class Predicate(FrozenModel):
    """What was done."""

    meaning: str = MEANING
    request: str
    """Id of the request."""
    run_started: str
    """UTC, as are the next two."""
    run_finished: str | None
    """None for a run of an earlier version."""
    record_made: str
    run_seconds: float
    texts: Texts
    counts: dict[str, int]
    model_before: ModelDigests
    model_after: ModelDigests
    method: str
    settings: dict[str, int | float | bool]
    """The numeric ones, by their names in the tool."""
    seed: int
    versions: dict[str, str]
    hardware: str
    precision: str
    measured: Measurements | None
    """None for a run without an evaluation."""
    audit: Audited | None = None
    """None for a run that was not audited."""
    queue: Queue | None
    open_actions: list[OpenAction]
    signer: Signer


class Statement(FrozenModel):
    """An in-toto statement about the files of the model after unlearning."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default="https://in-toto.io/Statement/v1", alias="_type")
    subject: list[ModelFile] = Field(min_length=1)
    predicate_type: Literal[
        "urn:uuid:28bec65b-fc6c-4b63-aaa4-e99ccebfff3e", "https://pypi.org/project/efface/unlearning-record/v1"
    ] = Field(default=PREDICATE_TYPE, alias="predicateType")
    predicate: Predicate
