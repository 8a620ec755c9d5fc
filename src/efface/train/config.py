"""Settings of training; the defaults are the paper's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from efface.frozen import FrozenModel

Precision = Literal["auto", "float32", "bf16"]
Pairing = Literal["resampled", "fixed"]
Optimizer = Literal["auto", "adamw", "adamw8bit"]
KLReference = Literal["auto", "cached", "live"]
Tracker = Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb"]


class LoRAConfig(FrozenModel):
    """Low-rank adapters on all linear layers but the head; the paper's sizes."""

    r: int = Field(default=8, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    bits: Literal[4, 8] | None = None
    """Round the base model's weights while training: 4 is NF4, 8 is LLM.int8 of bitsandbytes (extra `quantized`)."""


class TrainConfig(FrozenModel):
    """AdamW with linear warm-up and linear decay to 0, as in the paper."""

    model_config = ConfigDict(allow_inf_nan=False)

    lr: float = Field(default=1e-5, gt=0, le=1e30)  # far beyond it, AdamW's own arithmetic overflows
    epochs: int = Field(default=5, gt=0)
    batch_size: int = Field(default=32, gt=0)
    """Forget items in one optimizer step, whatever fits in memory at once."""
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_steps: int | None = Field(default=None, ge=0)
    """By default one epoch's steps, or none where an epoch has at most one."""
    max_grad_norm: float | None = Field(default=None, gt=0)
    """Clip the gradient's norm; the published code does not."""
    pairing: Pairing = "resampled"
    """Draw each forget item's retain partner and refusal anew in every epoch, or keep those of the first."""
    lora: LoRAConfig | None = None
    """Train adapters instead of all weights."""
    precision: Precision = "auto"
    """Of the forward and backward pass. `auto`: bf16 on CUDA, and with `adamw8bit`."""
    optimizer: Optimizer = "auto"
    """`adamw`: trained weights, gradients and both moments are float32, 16 bytes a weight. `adamw8bit`: weights and
    gradients are bf16, updates rounded up or down by chance, moments have 8 bits, 6 bytes a weight (extra `lowmem`).
    `auto`: the first where it fits or adapters are trained, else, on CUDA, the second; decided once a run."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Keep a layer's input alone and compute the layer again in the backward pass. `auto`: where memory is short."""
    max_tokens_per_forward: int | None = Field(default=None, gt=0)
    """Most tokens in one forward; by default what the free memory allows. Results do not depend on it, but for
    rounding and for the masks of LoRA's dropout."""
    sharding: Literal["none", "fsdp2"] = "none"
    """Of several processes: each holds the whole model, or FSDP2 lays weights, gradients and optimizer over all."""
    kl_reference: KLReference = "auto"
    """What gives KL the distributions of the model before unlearning: its last hidden states, `cached` in a file once;
    or a `live` model at every step, which with adapters is the one in training with those switched off. `auto`: live
    with adapters on that model, else cached where the disk allows. Results do not depend on it, but for rounding."""
    save_steps: int | None = Field(default=None, gt=0)
    """Steps between checkpoints; by default an epoch's."""
    tracker: Tracker | None = None
    """A tracker of accelerate besides metrics.jsonl."""

    def bf16_on(self, device_type: str) -> bool:
        """Whether forward and backward pass run in bf16 on a device such as `cuda`."""
        chosen = device_type == "cuda" or self.optimizer == "adamw8bit"
        return self.precision == "bf16" or (self.precision == "auto" and chosen)

    @model_validator(mode="after")
    def _all_weights_in_bf16(self) -> Self:
        if self.optimizer == "adamw8bit" and self.lora is not None:
            raise ValueError("optimizer=adamw8bit is for all weights, and lora trains few; leave one of the two out")
        if self.optimizer == "adamw8bit" and self.precision == "float32":
            raise ValueError("optimizer=adamw8bit keeps weights in bf16; leave precision=float32 out")
        if self.optimizer == "adamw8bit" and self.sharding != "none":
            raise ValueError("optimizer=adamw8bit is for whole models; leave sharding out")
        return self
