"""Which questions are forgotten and which are kept: the settings of a task's data. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel

Source = Literal["tofu", "real-world", "synthetic-authors", "files"]
Split = Literal["forget01", "forget05", "forget10"]
ExcludedForgetSet = Literal["forget", "forget01", "forget05", "forget10"]
"""What a model is not to see that others are compared with: the data's own forget set, or one of TOFU's."""

TASKS: dict[Split, int] = {"forget01": 10, "forget05": 10, "forget10": 9}
"""How many tasks, one forget set each, the file of a TOFU split holds."""

_SETTINGS: dict[Source, frozenset[str]] = {
    "tofu": frozenset({"split", "task", "forgotten_before", "retain_items", "retain_evaluation"}),
    "real-world": frozenset(),
    "synthetic-authors": frozenset(
        {"authors", "forget_authors", "author_seed", "task", "forgotten_before", "retain_evaluation"}
    ),
    "files": frozenset(
        {
            "forget",
            "retain",
            "retain_minus_forget",
            "forgotten_before",
            "passage_length",
            "generic_questions",
            "retain_evaluation",
        }
    ),
}
_FOR_ALL = frozenset({"source", "extra_retain", "extra_retain_items"})
"""The settings that mean something for each source."""

MODEL_ANSWERS = "model-answers"
"""In place of a retain file: the model's own answers to generic questions."""


class ColumnsConfig(FrozenModel):
    """What a file calls its columns, where it does not use the names here; a dot reaches into a column."""

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


class FileConfig(FrozenModel):
    """Where questions and answers, conversations or documents lie."""

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


ForgetRequest = int | FileConfig
"""What one request asks to forget: the number of a task of the data, or a file."""


class DataConfig(FrozenModel):
    """Settings of one unlearning task's data.

    Settings that contradict each other raise pydantic's `ValidationError`, whose message is one sentence.
    """

    source: Source
    split: Split | None = None
    """TOFU only: which forget file."""
    task: int = Field(default=1, ge=1)
    """TOFU and generated: which task; 1 is the benchmark's standard forget set, and the last authors generated."""
    forgotten_before: tuple[ForgetRequest, ...] = ()
    """What was forgotten before, in that order: tasks, or files for source=files. None of it is kept, and each is
    scored as a set of its own."""
    retain_items: int | None = Field(default=None, ge=1)
    """TOFU only: keep the first so many of the retain set, and make target models of these and the forget set."""
    forget: FileConfig | None = None
    """Files only: what to forget; a path alone will do."""
    retain: FileConfig | Literal["model-answers"] | None = None
    """Files only: what to keep; `model-answers` takes the model's own answers to generic questions. Without it, only
    methods that keep nothing can be used."""
    retain_minus_forget: bool = False
    """Files only: the retain file may hold what is forgotten, too; the rest of it is kept."""
    passage_length: int = Field(default=1000, ge=20)
    """Files only: running text is cut into passages of at most so many characters."""
    generic_questions: int = Field(default=200, ge=2, le=400)
    """Files only, with retain=model-answers: how many questions the model answers; every fourth is not trained on, but
    scored."""
    authors: int = Field(default=20, ge=1)
    """Generated only: how many authors are invented."""
    forget_authors: int = Field(default=2, ge=1)
    """Generated only: how many of them a task forgets; task 1 those counted from the last, task 2 those before."""
    author_seed: int = 0
    """Generated only: decides names, facts and wording."""
    retain_evaluation: int = Field(default=300, ge=1)
    """At most so many retain questions are scored. Real-world data scores all of its other neighbors."""
    extra_retain: FileConfig | None = None
    """Unrelated instructions and answers that are kept, too: for a retain set that has become small."""
    extra_retain_items: int = Field(default=2000, ge=1)
    """At most so many of them, evenly spread over the file."""

    @field_validator("forget", "retain", "extra_retain", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return expand_path(value)

    @field_validator("forgotten_before", mode="before")
    @classmethod
    def _paths_alone(cls, value: Any) -> Any:
        return [expand_path(each) for each in value] if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _settings_fit_source(self) -> Self:
        for name, field in type(self).model_fields.items():
            foreign = name not in _FOR_ALL and name not in _SETTINGS[self.source]
            if foreign and getattr(self, name) != field.default:
                given = getattr(self, name)
                said = given.path if isinstance(given, FileConfig) else given
                raise ValueError(f"{name}={said} means nothing for source={self.source}: remove it")
        return self

    @model_validator(mode="after")
    def _settings_are_complete(self) -> Self:
        if self.source == "tofu" and self.split is None:
            raise ValueError(f"source=tofu needs a split, one of {', '.join(TASKS)}")
        if self.source == "files" and self.forget is None:
            raise ValueError("source=files needs forget=PATH, a file of what to forget")
        unasked = self.generic_questions != type(self).model_fields["generic_questions"].default
        if unasked and self.retain != MODEL_ANSWERS:
            raise ValueError("generic_questions means nothing without retain=model-answers: remove it")
        if self.source == "synthetic-authors" and self.forget_authors >= self.authors:
            raise ValueError(
                f"forget_authors={self.forget_authors} of authors={self.authors} leaves nobody to keep: "
                "forget fewer or generate more"
            )
        if (
            self.extra_retain is None
            and self.extra_retain_items != type(self).model_fields["extra_retain_items"].default
        ):
            raise ValueError("extra_retain_items means nothing without extra_retain: remove it")
        return self

    @model_validator(mode="after")
    def _earlier_ones_fit(self) -> Self:
        """Each of `forgotten_before` is of the kind that the source has, there, and neither repeated nor forgotten now."""
        this = self.forget if self.source == "files" else self.task
        kind, call = (FileConfig, "files") if self.source == "files" else (int, "tasks, such as [1, 2]")
        for each in self.forgotten_before:
            if not isinstance(each, kind):
                raise ValueError(
                    f"forgotten_before={request_name(each)}: for source={self.source} it is a list of {call}"
                )
        for place, each in enumerate(self.forgotten_before):
            if each == this or each in self.forgotten_before[:place]:
                raise ValueError(
                    f"{request_name(each)} is asked to be forgotten twice: remove it from forgotten_before"
                )
        if self.source != "files":
            check_tasks(self, [self.task, *(each for each in self.forgotten_before if isinstance(each, int))])
        return self


def check_tasks(config: DataConfig, tasks: Sequence[int]) -> None:
    """Raise `ValueError` for a task that the benchmark does not have."""
    last = TASKS[config.split] if config.split else config.authors // config.forget_authors
    where = config.split or f"{config.authors} authors, {config.forget_authors} a task"
    for task in tasks:
        if not 1 <= task <= last:
            raise ValueError(f"task={task} is not in {where}, which has 1 to {last}")


def request_name(request: int | FileConfig) -> str:
    """A request as one reads it: `task 3`, or the path of its file."""
    return f"task {request}" if isinstance(request, int) else request.path


def expand_path(file: Any) -> Any:
    """A path alone as the settings it stands for; anything else as it is."""
    return {"path": str(file)} if isinstance(file, str | Path) and file != MODEL_ANSWERS else file


SHORTHANDS: dict[str, DataConfig] = {
    **{f"tofu-{split}": DataConfig(source="tofu", split=split) for split in TASKS},
    "real-world": DataConfig(source="real-world"),
    "synthetic-authors": DataConfig(source="synthetic-authors"),
}


def parse_data(name: str) -> DataConfig:
    """Return the settings that a shorthand such as `tofu-forget01`, `real-world` or `synthetic-authors` stands for.

    Raises `EffaceError` for any other name.
    """
    try:
        return SHORTHANDS[name]
    except KeyError:
        raise EffaceError(
            f"unknown data {name!r}: {suggest(name, SHORTHANDS)}; your own files go in as source=files"
        ) from None


def expand_data(data: Any) -> Any:
    """`data: tofu-forget01` for short; forget and retain files may be paths alone, and need no `source`."""
    if isinstance(data, str):
        return parse_data(data).model_dump(exclude_defaults=True)
    if isinstance(data, dict) and (files := {key: data[key] for key in ("forget", "retain") if key in data}):
        return {"source": "files", **data, **{key: expand_path(file) for key, file in files.items()}}
    return data
