"""Settings of `efface data answers` and `efface data probe`. No torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from efface.data.config import FileConfig, expand_path
from efface.hardware import Device
from efface.text.formatter import TextConfig


class AnswerGenerationConfig(BaseModel):
    """How a model answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(default=200, gt=0)
    """Most tokens of an answer; one that is longer ends behind its last whole sentence."""
    max_cache_tokens: int | None = Field(default=None, gt=0)
    """Generation keeps at most so many tokens in its cache: rows x (longest prompt + max_new_tokens); by default as many as
    fit into half of the free memory."""


class ProbeGenerationConfig(AnswerGenerationConfig):
    """How a model answers, and says how likely it holds other answers."""

    max_new_tokens: int = Field(default=64, gt=0)
    """Most tokens of an answer: what a model knows, it says in its first sentences."""
    max_tokens_per_forward: int = Field(default=8_192, gt=0)
    """Likelihoods put at most so many tokens through the model at once."""


class AnswersConfig(BaseModel):
    """Everything that decides what `efface data answers` writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    questions: FileConfig
    device: Device = "auto"
    text: TextConfig = TextConfig()
    evaluate: AnswerGenerationConfig = AnswerGenerationConfig()

    _short_questions = field_validator("questions", mode="before")(expand_path)


class ProbeConfig(BaseModel):
    """Everything that decides what `efface data probe` finds and writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    questions: FileConfig | None = None
    """None: the facts that come with efface."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Decides what is to be forgotten, kept and scored."""
    device: Device = "auto"
    text: TextConfig = TextConfig()
    evaluate: ProbeGenerationConfig = ProbeGenerationConfig()

    _short_questions = field_validator("questions", mode="before")(expand_path)
