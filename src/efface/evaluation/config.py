"""How a model is questioned and by which models its answers are judged. No torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from efface.frozen import FrozenModel

Precision = Literal["auto", "float32", "bf16"]
ModelName = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


class EvaluateConfig(FrozenModel):
    """Settings of an evaluation; two models are comparable only under the same ones."""

    max_new_tokens: int = Field(default=200, gt=0)
    """Most tokens of an output, whatever the length of its prompt."""
    embedder: ModelName = "default"
    """`default` (the paper's, or none where it cannot be had), `offline` (all-MiniLM-L6-v2 from the extra
    `offline`), `none`, or a folder or hub name that must load."""
    judge: ModelName = "default"
    """`default` (the paper's, or none where it cannot be had), `key-facts`, `none`, or a folder or hub name of
    an NLI model that must load."""
    precision: Precision = "auto"
    """Of the model that is questioned; `auto`: on a GPU that which it is stored in, on a CPU float32."""
    max_cache_tokens: int | None = Field(default=None, gt=0)
    """Generation keeps at most so many tokens in its cache: rows x (longest prompt + max_new_tokens); by default as many as
    fit into half of the free memory."""
    max_tokens_per_forward: int = Field(default=8_192, gt=0)
    """Likelihoods put at most so many tokens through the model at once."""
    limit: int | None = Field(default=None, gt=0)
    """Score only the first so many questions of each set."""
    every: Literal["epoch"] | None = None
    """Runs only: score the model after every epoch, too."""
    select_epoch: Literal["last", "best"] = "last"
    """Runs only, with `every`: which epoch's model the run leaves; the best has the highest harmonic mean of model
    utility and forget efficacy (partial ones where the whole are missing), the earlier one of equals."""

    @model_validator(mode="after")
    def _best_of_several(self) -> Self:
        if self.select_epoch == "best" and self.every is None:
            raise ValueError("select_epoch=best chooses among epochs that are scored; add evaluate.every=epoch")
        return self
