"""Settings of how a file of a user is read: the names of its columns, and the most that is read. No torch."""

from __future__ import annotations

from pydantic import Field

from efface.frozen import FrozenModel


class ColumnsConfig(FrozenModel):
    """Names of a file's columns, where they differ from the names here; a dot selects a value inside a column."""

    question: str | None = None
    """The question, or the instruction."""
    answer: str | None = None
    """The answer."""
    messages: str | None = None
    """A conversation: a list of messages with role and content."""
    text: str | None = None
    """Running text."""
    system: str | None = None
    """A system prompt."""
    golden_answer: str | None = None
    """The correct answer, which is scored where `answer` is what the model says."""
    original_answer: str | None = None
    """The answer as a full sentence, where `answer` is only a name."""
    paraphrased_question: str | None = None
    """The question in other words."""
    paraphrased_answer: str | None = None
    """The answer in other words, for the truth ratio."""
    perturbed_answers: str | None = None
    """Wrong answers in the same form, for the truth ratio."""
    alternate_answers: str | None = None
    """Other answers in place of the ones to forget, which some methods train."""
    key_fact: str | None = None
    """The words that a correct answer must have, which `evaluate.judge=key-facts` looks for."""
    name: str | None = None
    """What the question is about, such as a person; `efface data probe` keeps questions of one name together."""


class ReadLimits(FrozenModel):
    """The most that is read from a file or folder: a small file may stand for more rows than the memory holds."""

    max_mib: float = Field(default=256, gt=0, allow_inf_nan=False)
    """Size in MiB, decompressed."""
    max_values: int = Field(default=10_000_000, gt=0)
    """Number of values: rows times columns. For JSON and CSV, the number of separators and brackets."""
