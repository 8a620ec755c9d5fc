"""Settings of an evaluation: generation, likelihoods and the models that judge outputs. No torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from efface.frozen import FrozenModel

Precision = Literal["auto", "float32", "bf16"]
Engine = Literal["efface", "transformers"]
ModelName = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


class EvaluateConfig(FrozenModel):
    """Settings of an evaluation; two models are comparable only under the same ones."""

    max_new_tokens: int = Field(default=200, gt=0)
    """Most tokens of an output, whatever the length of its prompt; some sets of MUSE have their own."""
    stop: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """An output ends before the first of these strings, such as a blank line after a few-shot prompt."""
    question: Literal["original", "paraphrased"] = "original"
    """Which question is asked. `paraphrased`: `paraphrased_question`, where the data has one."""
    embedder: ModelName = "default"
    """`default` (the paper's; where it is not available, `offline`, or else none), `offline` (all-MiniLM-L6-v2 from the
    extra `offline`), `none`, or a folder or hub name that must load."""
    judge: ModelName = "default"
    """`default` (the paper's; where it is not available, `key-facts` if all questions of a set have one, or else none),
    `key-facts`, `none`, or a folder or hub name of an NLI model that must load."""
    gibberish_detector: ModelName = "none"
    """`none`, `default` (open-unlearning's classifier; where it is not available, none), or a folder or hub name of a
    classifier with the label `clean` that must load. Adds the metric `not_gibberish`."""
    precision: Precision = "auto"
    """Dtype of the evaluated model; `auto`: the dtype of its checkpoint on a GPU, float32 on a CPU."""
    max_cache_tokens: int | None = Field(default=None, gt=0)
    """Most tokens in the KV cache during generation: batch size x (longest prompt + max_new_tokens); by default as many
    as fit into half of the free memory."""
    engine: Engine = "efface"
    """What generates outputs. `efface`: as plain greedy decoding of one prompt at a time; rows that end leave the
    batch. `transformers`: its continuous batching, where others take their place; for many outputs on a GPU."""
    max_tokens_per_forward: int = Field(default=8_192, gt=0)
    """Most tokens in one forward pass when likelihoods are computed."""
    sharding: Literal["auto", "none", "fsdp2"] = "auto"
    """Of several processes. `none`: each has the whole model; `fsdp2`: its weights are sharded, which is slower.
    `auto`: sharded where the whole model takes more than 60 % of the free memory."""
    limit: int | None = Field(default=None, gt=0)
    """Score only the first `limit` questions of each set."""
    every: Literal["epoch"] | Annotated[int, Field(gt=0)] | None = None
    """Runs only: also score the model after every epoch. With `keep`: how often to look, every epoch (the default) or
    so many optimizer steps."""
    select_epoch: Literal["last", "best"] = "last"
    """Runs only, with `every`: which epoch's model the run saves; the best has the highest harmonic mean of model
    utility and forget efficacy (partial ones where the complete ones are missing), the earlier one of equals."""

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole_for_transformers(self) -> Self:
        if self.engine == "transformers" and self.sharding == "fsdp2":
            raise ValueError("engine=transformers cannot use a sharded model; leave engine or sharding=fsdp2 out")
        return self

    @model_validator(mode="after")
    def _best_of_several(self) -> Self:
        if self.select_epoch == "best" and self.every is None:
            raise ValueError(
                "select_epoch=best chooses among epochs that are scored; add evaluate.every=epoch, or set "
                "evaluate.select_epoch=last, which a run with keep needs"
            )
        return self
