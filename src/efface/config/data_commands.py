"""The settings of the commands `efface data ...` that read data or ask a model, one config class each. No torch."""

from __future__ import annotations

from pydantic import Field, field_validator

from efface.data.config import DataConfig, FileConfig, expand_data, expand_path
from efface.evaluation.config import EvaluateConfig
from efface.frozen import FrozenModel
from efface.hardware import Device
from efface.text.config import TextConfig


class DataInspectionConfig(FrozenModel):
    """Settings of `efface data check`."""

    data: DataConfig
    """The data to look at."""
    model: str | None = None
    """Count lengths in this model's tokens, and check them against its limit. Default: count characters."""
    tokenizer: str | None = None
    """Where the tokenizer is, if the model's folder has none: the folder or hub name of the model that it was trained
    from. Without `model`: count lengths in its tokens."""
    text: TextConfig = TextConfig()
    """How questions and answers become tokens."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How a run would be evaluated: decides which questions are checked."""

    _short_data = field_validator("data", mode="before")(expand_data)


class AnswerGenerationConfig(FrozenModel):
    """How a model answers questions."""

    max_new_tokens: int = Field(default=200, gt=0)
    """Maximum length of an answer, in tokens. A longer answer is cut after its last complete sentence."""
    max_cache_tokens: int | None = Field(default=None, gt=0)
    """Maximum size of the KV cache of one batch, in tokens: batch size x (longest prompt + max_new_tokens). Default:
    what fits into half of the free memory."""


class ProbeGenerationConfig(AnswerGenerationConfig):
    """How a model answers questions, and how the likelihoods of other answers are computed."""

    max_new_tokens: int = Field(default=64, gt=0)
    """Maximum length of an answer, in tokens. A model says what it knows in its first sentences."""
    max_tokens_per_forward: int = Field(default=8_192, gt=0)
    """Maximum number of tokens in one forward pass when likelihoods are computed."""


class AnswersConfig(FrozenModel):
    """Settings of `efface data answers`, which writes down a model's answers."""

    model: str
    """The model to ask: a local folder, or the name of a model on the Hugging Face hub."""
    tokenizer: str | None = None
    """Where the tokenizer is, if the model's folder has none: the folder or hub name of the model that it was trained
    from. Default: the model's folder."""
    questions: FileConfig
    """The file with the questions and their correct answers; a path is enough."""
    device: Device = "auto"
    """`cpu`, `cuda`, or `auto`: a CUDA GPU where there is one, otherwise the CPU."""
    text: TextConfig = TextConfig()
    """How questions become tokens."""
    evaluate: AnswerGenerationConfig = AnswerGenerationConfig()
    """How the model answers."""

    _short_questions = field_validator("questions", mode="before")(expand_path)


class AlternativesGenerationConfig(AnswerGenerationConfig):
    """How a model makes up other answers."""

    count: int = Field(default=5, ge=1, le=100)
    """How many are drawn for each question; those that repeat another or the answer are left out."""
    temperature: float = Field(default=1.0, gt=0, le=100)
    """Divides the logits before an answer is drawn; 1 is the model's own distribution."""


class AlternativesConfig(AnswersConfig):
    """Settings of `efface data alternatives`, which writes down other answers that a model makes up."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the draws."""
    evaluate: AlternativesGenerationConfig = AlternativesGenerationConfig()
    """How the model answers."""


class ProbeConfig(FrozenModel):
    """Settings of `efface data probe`, which finds out what a model knows."""

    model: str
    """The model to ask: a local folder, or the name of a model on the Hugging Face hub."""
    tokenizer: str | None = None
    """Where the tokenizer is, if the model's folder has none: the folder or hub name of the model that it was trained
    from. Default: the model's folder."""
    questions: FileConfig | None = None
    """The file with the questions and their answers; a path is enough. Default: the well-known facts that come with
    efface."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the split of the known entities into forget set, retain set and evaluation."""
    device: Device = "auto"
    """`cpu`, `cuda`, or `auto`: a CUDA GPU where there is one, otherwise the CPU."""
    text: TextConfig = TextConfig()
    """How questions and answers become tokens."""
    evaluate: ProbeGenerationConfig = ProbeGenerationConfig()
    """How the model answers, and how likelihoods are computed."""

    _short_questions = field_validator("questions", mode="before")(expand_path)
