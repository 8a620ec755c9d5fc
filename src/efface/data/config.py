"""Settings of a task's data: forget set, retain set and evaluation sets. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from efface.data.file_settings import ColumnsConfig, ReadLimits
from efface.data.source_settings import COMMON_SETTINGS, SETTINGS, Source
from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel
from efface.renamed import renamed_to

Split = Literal["forget01", "forget05", "forget10"]
ExcludedForgetSet = Literal["forget", "forget01", "forget05", "forget10"]
"""The forget set that a retrained model does not see: that of the data itself, or of a TOFU split."""

Corpus = Literal["news", "books", "bio", "cyber"]
CORPORA: dict[Source, tuple[Corpus, ...]] = {"muse": ("news", "books"), "wmdp": ("bio", "cyber")}
"""The corpora of a source."""
MUSE_FOLDS = 4
"""Number of forget corpora of MUSE News that grow (`scal`) or follow one another (`sust`)."""

TASKS: dict[Split, int] = {"forget01": 10, "forget05": 10, "forget10": 9}
"""Number of tasks, each with its own forget set, in the file of a TOFU split."""

MODEL_ANSWERS = "model-answers"
"""Value of `retain` for a retain set of the model's answers to generic questions."""

PUBLISHED = "published"
"""Value of `refusals` for those of the published code, and of `holdout` for TOFU's."""


class FileConfig(FrozenModel):
    """Location and columns of a file with questions and answers, conversations or documents."""

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
    """Names of the columns, where they differ from the names of these settings."""
    limits: ReadLimits = ReadLimits()
    """The most that is read: a small file may stand for more rows than the memory holds."""


ForgetRequest = int | FileConfig
"""One unlearning request: the number of a task of the data, or a file with the forget set."""


class DataConfig(FrozenModel):
    """Settings of one unlearning task's data.

    Raises:
        pydantic.ValidationError: If settings contradict each other; the message is one sentence.
    """

    source: Source
    """Where the data is from; `data.forget` alone means `files`."""
    split: Split | None = None
    """TOFU only: the forget split."""
    task: int = Field(default=1, ge=1)
    """TOFU and synthetic authors: the task; task 1 is the benchmark's standard forget set, or the last authors. MUSE:
    the number of a `scal` or `sust` corpus."""
    corpus: Corpus | None = None
    """MUSE: `news` or `books`; WMDP: `bio` or `cyber`."""
    forget_corpus: Literal["raw", "scal", "sust"] = "raw"
    """MUSE News only: what is forgotten. `raw`: the benchmark's forget corpus; `scal` and `sust`: the one of number
    `task`, of four that contain one another, or four without common texts, for requests in turn."""
    retain_corpus: Literal["wikitext", "wmdp"] = "wikitext"
    """WMDP only: `wikitext`, as in the paper, or the benchmark's own retain corpus, as in open-unlearning."""
    documents: int = Field(default=1000, ge=1)
    """WMDP only: number of documents of each corpus, from the first on; 1,000 are fetched."""
    chunk_tokens: int = Field(default=2048, ge=8)
    """MUSE and WMDP: most tokens of a chunk; a corpus is trained on in chunks of its joined documents."""
    forgotten_before: tuple[ForgetRequest, ...] = ()
    """Earlier requests, in their order: tasks, or files for source=files. They are removed from the retain set, and
    each is scored as an evaluation set."""
    retain_items: int | None = Field(default=None, ge=1)
    """TOFU only: number of retain items to use, from the first on, also to fine-tune target models; by default all."""
    forget: FileConfig | None = None
    """Files only: the forget set; a path is enough."""
    retain: FileConfig | Literal["model-answers"] | None = None
    """Files only: the retain set; `model-answers` uses the model's answers to generic questions, and the well-known
    facts that it knows. Without it, only methods without a retain regularizer can be used."""
    retain_minus_forget: bool = False
    """Files only: remove the items of the forget set from the retain file."""
    passage_length: int = Field(default=1000, ge=20)
    """Maximum number of characters of the passages that running text is split into. MUSE and WMDP: only for those that
    are scored."""
    generic_questions: int = Field(default=200, ge=0, le=400)
    """Files only, with retain=model-answers: number of questions that the model answers; every fourth is held out for
    evaluation."""
    known_facts: int = Field(default=300, ge=0, le=1190)
    """Files only, with retain=model-answers: number of well-known facts that the model is asked about, in two wordings.
    Of those that it knows, the facts about one in three people and things are scored and never trained on: they say
    what was kept. The others are part of the retain set. Facts that name what is forgotten are left out."""
    authors: int = Field(default=20, ge=1)
    """Synthetic authors only: number of authors."""
    forget_authors: int = Field(default=2, ge=1)
    """Synthetic authors only: number of authors in a forget set; task 1 forgets the last ones, task 2 those before."""
    author_seed: int = 0
    """Synthetic authors only: seed of names, facts and wording."""
    forget_evaluation: int = Field(default=300, ge=1)
    """TOFU only: maximum number of questions of a forget set that are scored. The published evaluation scores 300 of
    the 400 of forget10; open-unlearning scores all."""
    retain_evaluation: int = Field(default=300, ge=1)
    """Maximum number of retain questions that are scored. Real-world data scores all of its other neighbors."""
    extra_retain: FileConfig | None = None
    """Unrelated instructions and answers that are added to the retain set, for a retain set that is too small."""
    extra_retain_items: int = Field(default=2000, ge=1)
    """Maximum number of items of `extra_retain`, evenly spaced over the file."""
    refusals: str | None = Field(default=None, min_length=1)
    """The answers that IDK, DPO and AP train with: a text file with one on each line, or `published` for the 100 that
    `efface data fetch tofu` downloads with the benchmark. By default 100 that come with efface."""

    holdout: FileConfig | Literal["published"] | None = None
    """Items of the same kind that are never trained on, and scored as the set `holdout`, for membership inference: a
    file, or `published` for those of a TOFU split, which `efface data fetch tofu-holdout` downloads."""
    few_shot: FileConfig | None = None
    """Files only: questions with answers that are shown, in this order, before each question that is scored."""

    @field_validator("forget", "retain", "extra_retain", "few_shot", "holdout", mode="before")
    @classmethod
    def _expand_file(cls, value: Any, info: ValidationInfo) -> Any:
        return value if (info.field_name, value) == ("holdout", PUBLISHED) else expand_path(value)

    @field_validator("refusals", mode="before")
    @classmethod
    def _path_of_refusals(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @field_validator("forgotten_before", mode="before")
    @classmethod
    def _expand_files(cls, value: Any) -> Any:
        return [expand_path(each) for each in value] if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _check_settings_of_source(self) -> Self:
        allowed = COMMON_SETTINGS | SETTINGS[self.source]
        for name in type(self).model_fields:
            if name not in allowed and not self._is_default(name):
                value = getattr(self, name)
                shown = value.path if isinstance(value, FileConfig) else value
                raise ValueError(f"{name}={shown} does not apply to source={self.source}: remove it")
        return self

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.source == "tofu" and self.split is None:
            raise ValueError(f"source=tofu needs a split, one of {', '.join(TASKS)}")
        if self.source in CORPORA and self.corpus not in CORPORA[self.source]:
            allowed = " or ".join(CORPORA[self.source])
            found = "" if self.corpus is None else f", not {self.corpus}"
            raise ValueError(f"source={self.source} needs corpus={allowed}{found}")
        if self.forget_corpus != "raw" and self.corpus != "news":
            raise ValueError(f"forget_corpus={self.forget_corpus} exists for corpus=news alone: remove it")
        if self.holdout == PUBLISHED and self.source != "tofu":
            raise ValueError(f"holdout=published exists for source=tofu alone; for {self.source}, give a file")
        if self.source == "files" and self.forget is None:
            raise ValueError("source=files needs forget=PATH, the file of the forget set")
        self._check_model_answers()
        if self.source == "synthetic-authors" and self.forget_authors >= self.authors:
            raise ValueError(
                f"forget_authors={self.forget_authors} of authors={self.authors} leaves no author for the retain set: "
                "lower forget_authors or raise authors"
            )
        if self.extra_retain is None and not self._is_default("extra_retain_items"):
            raise ValueError("extra_retain_items applies only with extra_retain: remove it")
        return self

    def _check_model_answers(self) -> None:
        counts = ("generic_questions", "known_facts")
        for name in counts:
            if self.retain != MODEL_ANSWERS and not self._is_default(name):
                raise ValueError(f"{name} applies only to retain=model-answers: remove it")
        if self.retain == MODEL_ANSWERS and not any(getattr(self, name) for name in counts):
            raise ValueError("generic_questions and known_facts are both 0, so there is no retain set: raise one")

    @model_validator(mode="after")
    def _check_forgotten_before(self) -> Self:
        """Check that each earlier request has the type that the source takes, exists and occurs once."""
        current = self.forget if self.source == "files" else self.task
        expected, plural = (FileConfig, "files") if self.source == "files" else (int, "tasks, such as [1, 2]")
        for request in self.forgotten_before:
            if not isinstance(request, expected):
                raise ValueError(
                    f"forgotten_before={request_name(request)}: for source={self.source} it is a list of {plural}"
                )
        for index, request in enumerate(self.forgotten_before):
            if request == current or request in self.forgotten_before[:index]:
                raise ValueError(f"{request_name(request)} is requested twice: remove it from forgotten_before")
        if self.source != "files":
            check_tasks(self, [self.task, *(each for each in self.forgotten_before if isinstance(each, int))])
        return self

    def _is_default(self, name: str) -> bool:
        return bool(getattr(self, name) == type(self).model_fields[name].default)


def check_tasks(config: DataConfig, tasks: Sequence[int]) -> None:
    """Check that the data has these tasks.

    Args:
        config: Settings of TOFU, MUSE or synthetic authors.
        tasks: Task numbers, counted from 1.

    Raises:
        ValueError: If the data has no task of such a number.
    """
    if config.split:
        last, where = TASKS[config.split], str(config.split)
    elif config.source == "muse":
        last, where = (1 if config.forget_corpus == "raw" else MUSE_FOLDS), f"forget_corpus={config.forget_corpus}"
    else:
        last = config.authors // config.forget_authors
        where = f"{config.authors} authors, {config.forget_authors} a task"
    for task in tasks:
        if not 1 <= task <= last:
            raise ValueError(f"task={task} is not in {where}, which has 1 to {last}")


def request_name(request: ForgetRequest) -> str:
    """The name of a request in messages: `task 3`, or the path of its file."""
    return f"task {request}" if isinstance(request, int) else request.path


def expand_path(file: Any) -> Any:
    """Expand a path to the settings of a file; any other value is returned unchanged."""
    return {"path": str(file)} if isinstance(file, str | Path) and file != MODEL_ANSWERS else file


SHORTHANDS: dict[str, DataConfig] = {
    **{f"tofu-{split}": DataConfig(source="tofu", split=split) for split in TASKS},
    **{f"{source}-{name}": DataConfig(source=source, corpus=name) for source in CORPORA for name in CORPORA[source]},
    "real-world": DataConfig(source="real-world"),
    "synthetic-authors": DataConfig(source="synthetic-authors"),
}


def parse_data(name: str) -> DataConfig:
    """Look up the settings of a shorthand.

    Args:
        name: Such as `tofu-forget01`, `real-world` or `synthetic-authors`.

    Returns:
        The settings.

    Raises:
        EffaceError: If there is no such shorthand.
    """
    try:
        return SHORTHANDS[name]
    except KeyError:
        if new := renamed_to("data", name):
            raise EffaceError(f"data={name} is now called {new}") from None
        raise EffaceError(
            f"unknown data {name!r}: {suggest(name, SHORTHANDS)}; for your own files, use source=files"
        ) from None


def expand_data(data: Any) -> Any:
    """Expand the short forms of the setting `data`.

    Args:
        data: A shorthand such as `tofu-forget01`, or settings in which `forget` and `retain` may be paths and
            `source` may be omitted where they are given.

    Returns:
        The settings in full; any other value unchanged.

    Raises:
        EffaceError: If a shorthand is unknown.
    """
    if isinstance(data, str):
        return parse_data(data).model_dump(exclude_defaults=True)
    if isinstance(data, dict) and (files := {key: data[key] for key in ("forget", "retain") if key in data}):
        return {"source": "files", **data, **{key: expand_path(file) for key, file in files.items()}}
    return data
