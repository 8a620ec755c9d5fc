"""How a model is questioned and by which models its answers are judged. No torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

ModelName = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


class EvaluateConfig(BaseModel):
    """Settings of an evaluation; two models are comparable only under the same ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    new_tokens: int = Field(default=200, gt=0)
    """Most tokens of an output, whatever the length of its prompt."""
    embedder: ModelName = "default"
    """`default` (the paper's, or none where it cannot be had), `offline` (all-MiniLM-L6-v2 from the extra
    `offline`), `none`, or a folder or hub name that must load."""
    judge: ModelName = "default"
    """`default` (the paper's, or none where it cannot be had), `key-facts`, `none`, or a folder or hub name of
    an NLI model that must load."""
    batch_tokens: int = Field(default=32_768, gt=0)
    """Generation keeps at most so many tokens in its cache: rows x (longest prompt + new_tokens)."""
    token_budget: int = Field(default=8_192, gt=0)
    """Likelihoods put at most so many tokens through the model at once."""
    limit: int | None = Field(default=None, gt=0)
    """Score only the first so many questions of each set."""
