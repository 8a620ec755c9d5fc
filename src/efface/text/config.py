"""Settings of how questions and answers become tokens. No torch."""

from __future__ import annotations

import datetime
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from efface.frozen import FrozenModel
from efface.schema import Text

Boundary = Literal["joint", "joint-counted", "separate"]


_ASSISTANT = {"format": "chat", "system": "You are a helpful assistant."}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama-3": {**_ASSISTANT, "date": datetime.date(2025, 4, 10)},
    "llama-2-base": {"format": "plain"},
    "llama-2-chat": {"format": "llama2"},
    "phi-1.5": {"format": "plain"},
    "phi-3.5": _ASSISTANT,
    "qwen-2.5": _ASSISTANT,
    "gemma": {"format": "chat"},
    "zephyr": _ASSISTANT,
}
"""Family of models -> how open-unlearning asks them, by the template_args of its configs/model."""


class TemplateConfig(FrozenModel):
    """What a chat template shows besides the conversation."""

    system: Text | None = None
    """A system turn before each conversation that does not begin with one, for models tuned with one. Default: none."""
    date: datetime.date = datetime.date(2024, 7, 26)
    """The date that a chat template shows as today's, such as those of Llama 3; never the day of the run. The default
    is what Llama 3.1 and later show where no date is given."""

    def recorded(self, *, shows_date: bool) -> dict[str, Any]:
        """The settings as a manifest has them.

        Args:
            shows_date: Whether the chat template shows a date; if it does not, none is recorded.
        """
        return self.model_dump(mode="json", exclude_none=True, exclude=None if shows_date else {"date"})


class TextConfig(TemplateConfig):
    """How questions and answers become tokens."""

    format: str = Field(default="chat", max_length=10_000)
    """`chat` (the model's chat template), `llama2`, `llama3`, `plain`, or a string with {question} and {answer}. Or how
    open-unlearning asks a family of models, which sets `system` and `date`, too, unless they are given: `llama-3`,
    `llama-2-base`, `llama-2-chat`, `phi-1.5`, `phi-3.5`, `qwen-2.5`, `gemma`, `zephyr`."""
    max_length: int | None = Field(default=None, gt=0)
    """The most tokens of prompt and answer together; by default the number of positions of the model."""
    boundary: Boundary = "joint"
    """Where an answer starts if a token has characters of both prompt and answer, such as `]"` after `[/INST]` in
    Llama 2. `joint`: after that token, as in the published code. `joint-counted`: at that token. `separate`: prompt and
    answer are tokenized separately, so that there is no such token."""

    @model_validator(mode="before")
    @classmethod
    def _expand_family(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("format") in FAMILIES:
            return {**FAMILIES[values["format"]], **{name: each for name, each in values.items() if name != "format"}}
        return values

    @model_validator(mode="after")
    def _check_system(self) -> Self:
        if self.system is not None and self.format != "chat":
            raise ValueError(
                f"system is a turn of a chat template, and format={self.format} has no turns; leave system out, or set "
                "format=chat"
            )
        return self
