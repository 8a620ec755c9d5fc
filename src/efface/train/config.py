"""Settings of training; the defaults are the paper's."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["auto", "float32", "bf16"]
Pairing = Literal["resampled", "fixed"]
Tracker = Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb"]


class LoRAConfig(BaseModel):
    """Low-rank adapters on all linear layers but the head; the paper's sizes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(default=8, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    bits: Literal[4, 8] | None = None
    """Round the base model's weights while training: 4 is NF4, 8 is LLM.int8 of bitsandbytes (extra `quantized`)."""


class TrainConfig(BaseModel):
    """AdamW with linear warm-up and linear decay to 0, as in the paper."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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
    """Of the forward and backward pass; weights and optimizer state are float32. `auto`: bf16 on CUDA."""
    gradient_checkpointing: bool = False
    token_budget: int | None = Field(default=None, gt=0)
    """Most tokens in one forward; by default what the free memory allows. Results do not depend on it, but for
    rounding and for the masks of LoRA's dropout."""
    checkpoint_every: int | None = Field(default=None, gt=0)
    """Steps between checkpoints; by default an epoch's."""
    tracker: Tracker | None = None
    """A tracker of accelerate besides metrics.jsonl."""

    def bf16_on(self, device_type: str) -> bool:
        """Whether forward and backward pass run in bf16 on a device such as `cuda`."""
        return self.precision == "bf16" or (self.precision == "auto" and device_type == "cuda")
