"""Settings of how a file of a user is read: the names of its columns, and the most that is read. No torch."""

from __future__ import annotations

from pydantic import Field

from efface.frozen import FrozenModel


class ColumnsConfig(FrozenModel):
    """Names of a file's columns, where they differ from the names here; a dot selects a value inside a column."""

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
    alternate_answers: str | None = None
    key_fact: str | None = None
    name: str | None = None


class ReadLimits(FrozenModel):
    """The most that is read from a file or folder: a small file may stand for more rows than the memory holds."""

    max_mib: float = Field(default=256, gt=0, allow_inf_nan=False)
    """Size in MiB, decompressed."""
    max_values: int = Field(default=10_000_000, gt=0)
    """Number of values: rows times columns. For JSON and CSV, the number of separators and brackets."""
