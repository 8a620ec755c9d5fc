"""Which questions are forgotten and which are kept: the settings of a task's data. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from efface.errors import EffaceError, nearest

Source = Literal["tofu", "real-world", "generated", "files"]
Split = Literal["forget01", "forget05", "forget10"]

TASKS: dict[Split, int] = {"forget01": 10, "forget05": 10, "forget10": 9}
"""How many tasks, one forget set each, the file of a TOFU split holds."""

_SETTINGS: dict[Source, frozenset[str]] = {
    "tofu": frozenset({"split", "task", "retain_items", "retain_evaluation"}),
    "real-world": frozenset(),
    "generated": frozenset({"authors", "forget_authors", "author_seed", "retain_evaluation"}),
    "files": frozenset({"forget", "retain", "passage_length", "generic_questions", "retain_evaluation"}),
}
"""The settings that mean something for each source."""

OWN_ANSWERS = "generated"
"""In place of a retain file: the model's own answers to generic questions."""


class ColumnsConfig(BaseModel):
    """What a file calls its columns, where it does not use the names here; a dot reaches into a column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str | None = None
    answer: str | None = None
    messages: str | None = None
    """A conversation: a list of messages with role and content."""
    text: str | None = None
    """Running text."""
    system: str | None = None
    """A system prompt."""
    golden_answer: str | None = None
    original_answer: str | None = None
    paraphrased_question: str | None = None
    paraphrased_answer: str | None = None
    perturbed_answers: str | None = None
    key_fact: str | None = None
    name: str | None = None


class FileConfig(BaseModel):
    """Where questions and answers, conversations or documents lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """A file (JSON lines, JSON, CSV, TSV, Parquet, text), a folder of text files, a saved dataset, or
    `hf:OWNER/NAME` for a dataset of the Hugging Face hub."""
    subset: str | None = None
    """Hub only: the dataset's configuration."""
    split: str | None = None
    """Hub and saved datasets only."""
    revision: str | None = None
    """Hub only: a branch, tag or commit."""
    columns: ColumnsConfig = ColumnsConfig()


class DataConfig(BaseModel):
    """Settings of one unlearning task's data.

    Settings that contradict each other raise pydantic's `ValidationError`, whose message is one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    split: Split | None = None
    """TOFU only: which forget file."""
    task: int = Field(default=1, ge=1)
    """TOFU only: which task of the split; 1 is the benchmark's standard forget set."""
    retain_items: int | None = Field(default=None, ge=1)
    """TOFU only: keep the first so many of the retain set, and make target models of these and the forget set."""
    forget: FileConfig | None = None
    """Files only: what to forget; a path alone will do."""
    retain: FileConfig | Literal["generated"] | None = None
    """Files only: what to keep; `generated` takes the model's own answers to generic questions. Without it, only
    methods that keep nothing can be used."""
    passage_length: int = Field(default=1000, ge=20)
    """Files only: running text is cut into passages of at most so many characters."""
    generic_questions: int = Field(default=200, ge=2, le=400)
    """Files only, with retain=generated: how many questions the model answers; every fourth is not trained on, but
    scored."""
    authors: int = Field(default=20, ge=1)
    """Generated only: how many authors are invented."""
    forget_authors: int = Field(default=2, ge=1)
    """Generated only: how many of them, counted from the last, are forgotten."""
    author_seed: int = 0
    """Generated only: decides names, facts and wording."""
    retain_evaluation: int = Field(default=300, ge=1)
    """At most so many retain questions are scored. Real-world data scores all of its other neighbors."""

    @field_validator("forget", "retain", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return spelled_out(value)

    @model_validator(mode="after")
    def _settings_fit_source(self) -> Self:
        for name, field in type(self).model_fields.items():
            foreign = name != "source" and name not in _SETTINGS[self.source]
            if foreign and getattr(self, name) != field.default:
                given = getattr(self, name)
                shown = given.path if isinstance(given, FileConfig) else given
                raise ValueError(f"{name}={shown} means nothing for source={self.source}: remove it")
        return self

    @model_validator(mode="after")
    def _settings_are_complete(self) -> Self:
        if self.source == "tofu":
            if self.split is None:
                raise ValueError(f"source=tofu needs a split, one of {', '.join(TASKS)}")
            if self.task > TASKS[self.split]:
                raise ValueError(f"task={self.task} is not in {self.split}, which has 1 to {TASKS[self.split]}")
        if self.source == "files" and self.forget is None:
            raise ValueError("source=files needs forget=PATH, a file of what to forget")
        unasked = self.generic_questions != type(self).model_fields["generic_questions"].default
        if unasked and self.retain != OWN_ANSWERS:
            raise ValueError("generic_questions means nothing without retain=generated: remove it")
        if self.source == "generated" and self.forget_authors >= self.authors:
            raise ValueError(
                f"forget_authors={self.forget_authors} of authors={self.authors} leaves nobody to keep: "
                "forget fewer or generate more"
            )
        return self


def spelled_out(file: Any) -> Any:
    """A path alone as the settings it stands for; anything else as it is."""
    return {"path": str(file)} if isinstance(file, str | Path) and file != OWN_ANSWERS else file


SHORTHANDS: dict[str, DataConfig] = {
    **{f"tofu-{split}": DataConfig(source="tofu", split=split) for split in TASKS},
    "real-world": DataConfig(source="real-world"),
    "generated": DataConfig(source="generated"),
}


def parse_data(name: str) -> DataConfig:
    """Return the settings that a shorthand such as `tofu-forget01`, `real-world` or `generated` stands for.

    Raises `EffaceError` for any other name.
    """
    try:
        return SHORTHANDS[name]
    except KeyError:
        raise EffaceError(
            f"unknown data {name!r}: {nearest(name, SHORTHANDS)}; your own files go in as source=files"
        ) from None
