"""Settings of training; the defaults are those of the paper."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from efface.frozen import FrozenModel

Precision = Literal["auto", "float32", "bf16"]
Pairing = Literal["resampled", "fixed", "published"]
Optimizer = Literal["auto", "adamw", "adamw8bit"]
KLReference = Literal["auto", "cached", "live"]
Kernels = Literal["torch", "liger", "compiled"]
Tracker = Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb"]


class LoRAConfig(FrozenModel):
    """Low-rank adapters on all linear layers except the output head; sizes of the paper."""

    r: int = Field(default=8, gt=0, le=32_768)
    """Rank of the adapters: the number of columns of their two factors."""
    alpha: int = Field(default=32, gt=0, le=1_000_000)
    """The adapters' output is multiplied by `alpha` / `r`."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of the adapters' inputs that is set to 0 in training."""
    adapter: Literal["new", "keep"] = "new"
    """`new`: add a new adapter to `model`. `keep`: go on training the adapter in the folder `adapter` beside `model`,
    which an earlier run with the same sizes saved, on the model that it is for."""
    bits: Literal[4, 8] | None = None
    """Quantize the base model's weights in training: 4 is NF4, 8 is LLM.int8 of bitsandbytes (extra `quantized`)."""


class SAMConfig(FrozenModel):
    """Sharpness-aware unlearning (arXiv:2502.05374), around any method."""

    rho: float | None = Field(default=None, gt=0, le=1e6)
    """The gradient of the forget loss is taken where the weights are moved by so much (2-norm) to where that loss is
    higher. The paper's code takes 0.01 to 0.1. A step needs a second pass over the forget items. Default: the weights
    are not moved."""


class TrainConfig(FrozenModel):
    """AdamW with linear warm-up and linear decay to 0, as in the paper."""

    model_config = ConfigDict(allow_inf_nan=False)

    lr: float = Field(default=1e-5, gt=0, le=1e30)  # AdamW overflows far above it
    """The highest learning rate, after the warm-up. Raise it if too much is still known."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """The learning rate after the warm-up: down to 0 in a line or in half a cosine, or the same until the end."""
    epochs: int = Field(default=5, gt=0, le=10_000)
    """Passes over the forget set; each has (forget items) / `batch_size` optimizer steps."""
    max_steps: int | None = Field(default=None, gt=0, le=10_000_000)
    """Optimizer steps, in place of those of `epochs`: the items are repeated for as long as it takes."""
    batch_size: int = Field(default=32, gt=0, le=1_000_000)
    """Forget items in one optimizer step; does not depend on what fits in memory at once."""
    round_steps: Literal["training", "epoch"] = "training"
    """What is rounded down to whole optimizer steps. `training`: `epochs` * items / `batch_size`; `epoch`: items /
    `batch_size`, the steps of each epoch, as in open-unlearning, where one step may be the warm-up."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decoupled weight decay."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps in which the learning rate grows linearly to `lr`; by default those of one epoch, or none where an epoch
    has at most one."""
    max_grad_norm: float | None = Field(default=None, gt=0)
    """Clip the gradient's norm to this value; the published code does not clip."""
    average_over: Literal["batch", "micro-batch"] = "batch"
    """What losses are averaged over. `batch`: the whole optimizer step; `micro-batch`: each `micro_batch_size` items,
    and then these averages are averaged, as in the published code."""
    micro_batch_size: int | None = Field(default=None, gt=0)
    """Items of each average of `average_over: micro-batch`; they need not be in one forward pass. The last average of a
    step has fewer items where this does not divide `batch_size`."""
    max_row_length: int | None = Field(default=None, gt=1)
    """Cut questions with their answers to so many tokens for training, as the published code does; by default an item
    that is too long is refused."""
    padding_attention: Literal["text", "none"] = "text"
    """What padding attends to where `me.average` or `kl.average` is `padded`. `text`: as with transformers' masks, so
    in the published code on a CPU; `none`: nothing, as in FlashAttention 2, which the published runs used."""
    pairing: Pairing = "resampled"
    """Partners of a forget item, its retain item and its refusals. `resampled`: drawn again in every epoch; `fixed`:
    those of the first; `published`: partners, the one refusal of both, and the order of the items are those of the
    published code, which are the same in every run."""
    anchor: Literal["forget", "retain"] = "forget"
    """The set that an epoch goes through once; the partners of its items are drawn from the other."""
    epoch_ends: Literal["exact", "published"] = "exact"
    """The steps after which epochs end, where they are evaluated. `exact`: with the last step that has only their
    items; `published`: every floor(items / batch_size) steps. The last step ends the last epoch in any case."""
    stop_after: int | None = Field(default=None, gt=0)
    """End training after so many of the `epochs`, whose learning rates stay the same: the state of a longer training at
    the end of an earlier epoch."""
    retain_bound: float | None = Field(default=None, ge=0)
    """Most retain loss, in nats per token for `gd`. `retain_coeff` is then the coefficient of the first step alone: it
    grows while the loss is above the bound, and shrinks, down to 0, below it (arXiv:2506.05314)."""
    retain_bound_rate: float = Field(default=1.0, gt=0)
    """How fast the coefficient follows, with `retain_bound`: its change for one nat above the bound."""
    sam: SAMConfig = SAMConfig()
    lora: LoRAConfig | None = None
    """Train adapters instead of all weights."""
    parameters: str | None = Field(default=None, max_length=1000)
    r"""Train only the weights whose names match this regular expression completely, such as
    `model\.layers\.(5|6|7)\.mlp\.down_proj\.weight`. Default: all."""
    precision: Precision = "auto"
    """Of the forward and backward pass. `auto`: bf16 on CUDA and with `adamw8bit`, else float32."""
    autocast: bool = True
    """In bf16, with weights in float32: cast what each operation reads, so that hidden states between layers stay
    float32 (`torch.autocast`). `false`: cast all weights once a step, and compute everything up to the losses in bf16.
    The processor launches less, and gradients differ more from those of float32."""
    optimizer: Optimizer = "auto"
    """`adamw`: trained weights, gradients and both moments are float32, 16 bytes per weight. `adamw8bit`: weights and
    gradients are bf16 with stochastic rounding, moments have 8 bits, 6 bytes per weight (extra `lowmem`); with `fsdp2`,
    those of matrices whose rows are no multiple of 256 have 16. `auto`:
    `adamw` where it fits or adapters are trained, else `adamw8bit` on CUDA; decided once per run."""
    kernels: Kernels = "torch"
    """What computes a model's layers in training steps. `torch`: the operations of transformers. `liger`: norms, SwiGLU
    and rotary embeddings by Liger-Kernel, on CUDA (extra `liger`). `compiled`: layers without their attention by
    `torch.compile`, which takes up to a minute at the first step; without effect under gradient checkpointing. Changes
    nothing except rounding. Neither was ever timed on a GPU."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Store only the input of each layer and recompute the layer in the backward pass. `auto`: if memory is short."""
    max_tokens_per_forward: int | None = Field(default=None, gt=0)
    """Most tokens in one forward pass; by default what the free memory allows. Results do not depend on it, except
    for rounding and for the masks of LoRA's dropout."""
    memory_gib: float | None = Field(default=None, gt=0, le=1_000_000)
    """Most memory of the device that training should take, weights included; by default all that is free. It decides
    micro-batches, gradient checkpointing and `optimizer=auto`."""
    sharding: Literal["none", "fsdp2", "zero3"] = "none"
    """Of several processes. `none`: each has the whole model; `fsdp2`: weights, gradients and optimizer are sharded;
    `zero3`: so they are by DeepSpeed, with gradients and optimizer on the CPU (extra `deepspeed`)."""
    kl_reference: KLReference = "auto"
    """How KL gets the distributions of the model before unlearning. `cached`: its last hidden states are computed once
    and stored in a file. `live`: from that model at every step; with adapters, from the model in training with them
    switched off. `auto`: cached if the disk has space. Changes nothing except rounding."""
    save_minutes: float = Field(default=10, gt=0, le=1_000_000)
    """Minutes between checkpoints; a shorter training writes none."""
    save_steps: int | None = Field(default=None, gt=0)
    """Steps between checkpoints, in place of `save_minutes`."""
    watch: bool = False
    """Whether metrics.jsonl also gets, before training and after each epoch, the mean log-probability of answers and of
    refusals on forget and retain set, and the weight that AP gives. Of larger sets, 100 evenly spaced items."""
    tracker: Tracker | None = None
    """An experiment tracker of accelerate, in addition to metrics.jsonl."""

    @property
    def memory_bytes(self) -> int | None:
        """`memory_gib` in bytes."""
        return None if self.memory_gib is None else int(self.memory_gib * 2**30)

    def bf16_on(self, device_type: str) -> bool:
        """Whether forward and backward pass use bf16 on a device such as `cuda`."""
        automatic = device_type == "cuda" or self.optimizer == "adamw8bit"
        return self.precision == "bf16" or (self.precision == "auto" and automatic)

    @model_validator(mode="after")
    def _check_stop_after(self) -> Self:
        if self.stop_after is not None and self.max_steps is None and self.stop_after > self.epochs:
            raise ValueError(
                f"stop_after={self.stop_after} is more than epochs={self.epochs}; lower it or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _check_micro_batches(self) -> Self:
        size = self.micro_batch_size
        if self.average_over == "micro-batch" and size is None:
            raise ValueError("average_over=micro-batch needs a size; give micro_batch_size, which is 4 as published")
        if self.average_over == "batch" and size is not None:
            raise ValueError(
                f"micro_batch_size={size} is the size of averages, and average_over=batch averages the whole batch; "
                "set average_over=micro-batch, or max_tokens_per_forward to limit memory"
            )
        if size is not None and size > self.batch_size:
            raise ValueError(
                f"micro_batch_size={size} is more than batch_size={self.batch_size}, the items of a step; change one "
                "of the two"
            )
        return self

    @field_validator("parameters")
    @classmethod
    def _is_regular_expression(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"parameters={value!r} is no regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if self.parameters is not None and self.lora is not None:
            raise ValueError(
                "parameters chooses among all weights, and lora trains adapters instead; leave one of the two out"
            )
        if self.kernels != "torch" and self.sharding != "none":
            raise ValueError(
                f"kernels={self.kernels} was never tried on sharded layers; leave it or sharding={self.sharding} out"
            )
        if self.kernels == "compiled" and self.lora is not None:
            raise ValueError("kernels=compiled was only tried on all weights; leave it or lora out")
        if self.anchor == "retain" and self.pairing == "published":
            raise ValueError("pairing=published goes through the forget set; leave anchor=retain out")
        return self

    @model_validator(mode="after")
    def _check_adamw8bit(self) -> Self:
        if self.optimizer == "adamw8bit" and self.lora is not None:
            raise ValueError("optimizer=adamw8bit trains all weights, and lora few; leave one of the two out")
        if self.optimizer == "adamw8bit" and self.precision == "float32":
            raise ValueError("optimizer=adamw8bit stores weights in bf16; leave precision=float32 out")
        if self.optimizer == "adamw8bit" and self.sharding == "zero3":
            raise ValueError("sharding=zero3 has the whole optimizer on the CPU; use sharding=fsdp2 with adamw8bit")
        return self

    @model_validator(mode="after")
    def _check_autocast(self) -> Self:
        if not self.autocast and self.sharding == "fsdp2":
            raise ValueError("sharding=fsdp2 casts weights layer by layer; leave autocast=false out")
        if self.lora is not None and self.sharding == "zero3":
            raise ValueError("sharding=zero3 is for all weights, and lora trains few; use sharding=fsdp2")
        if not self.autocast and self.lora is not None and self.lora.bits is not None:
            raise ValueError("lora.bits multiplies under autocast; leave autocast=false out")
        return self

    @model_validator(mode="after")
    def _check_sam(self) -> Self:
        if self.sam.rho is not None and self.optimizer == "adamw8bit":
            raise ValueError("sam.rho moves weights by less than bf16 has digits; leave optimizer=adamw8bit out")
        if self.sam.rho is not None and self.sharding != "none":
            raise ValueError("sam.rho moves whole weights; leave sharding out")
        return self
