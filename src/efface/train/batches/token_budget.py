"""How many tokens fit into one forward and backward pass, and whether gradient checkpointing is needed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from efface import distributed
from efface.errors import EffaceError
from efface.hardware.memory import free_memory
from efface.packing.forward import CHUNK_BYTES, device_of, unwrap_peft
from efface.packing.support import packing_unsupported_reason
from efface.train.batches.memory_use import HALF_PRECISION, activation_bytes, intermediate_size, training_state_bytes
from efface.train.batches.micro_batches import TrainingExample, count_packed_tokens, count_tokens
from efface.train.config import TrainConfig

_MIN_TOKENS = 512
_STEPS_COUNTED = 16
"""Of a training's steps, those whose tokens are counted exactly."""
_GPU_SHARE, _CPU_SHARE = 0.85, 0.5
"""Share of the free memory for activations: a GPU that runs out repeats the step, but a process is killed."""
_LOGIT_BYTES = 5 * CHUNK_BYTES
"""Kept free on a GPU: the most that losses keep of one chunk of logits, and compute in its backward pass."""
_SECONDS_PER_LAYER, _FLOPS = 3.8e-3, 6e14
"""Host time of a layer's forward and backward pass under autocast, and the rate of bf16 matrix products, as assumed of
an H100: what a pass costs however few its tokens, and what a token costs. Only their product matters."""
_RECOMPUTATION = 4 / 3
"""A step with gradient checkpointing makes one more forward pass; a backward pass is two."""


class TokenBudget:
    """Most tokens in one forward pass, and whether gradient checkpointing is on.

    Stored in checkpoints: other micro-batches round differently and draw other dropout masks, so a resumed run needs
    the budget of its start.
    """

    def __init__(
        self,
        tokens: int,
        *,
        estimate: int | None = None,
        checkpointing_tokens: int | None = None,
        tokens_per_pass: int = 0,
    ) -> None:
        """Start without gradient checkpointing.

        Args:
            tokens: Most tokens in one forward pass.
            estimate: Tokens that memory is estimated to hold, whatever `tokens` is set to; None for no limit.
            checkpointing_tokens: `tokens` with gradient checkpointing; None where it must not be switched on.
            tokens_per_pass: A forward and backward pass of fewer tokens takes as long as one of so many.
        """
        self.tokens = tokens
        self._tokens_per_pass = tokens_per_pass
        self.checkpointing = False
        self._estimate, self._checkpointing_tokens = estimate, checkpointing_tokens

    def fit(self, largest: int, step: int = 0) -> None:
        """Switch gradient checkpointing on where an example would not fit, or a step would take longer, without it.

        Args:
            largest: Tokens of the largest example.
            step: Tokens of an optimizer step of this process; 0 if unknown.
        """
        if self._estimate is None:
            return
        too_small = self._estimate < max(largest, _MIN_TOKENS)
        if too_small or (self._checkpointing_tokens and self._recomputing_is_faster(step, self._checkpointing_tokens)):
            self._enable_checkpointing()

    def fit_steps(self, model: Any, steps: Sequence[Sequence[TrainingExample]]) -> None:
        """`fit` for a model and the steps that are known."""
        shared = packing_unsupported_reason(model) is None
        step = max(count_packed_tokens(step, shared=shared) for step in steps[:_STEPS_COUNTED])
        largest = max(count_tokens(example) for step in steps for example in step)
        self.fit(largest, step // distributed.world_size())

    def _recomputing_is_faster(self, step: int, checkpointing_tokens: int) -> bool:
        """Whether fewer, larger passes with one more forward take less time than more passes without it."""
        cut, recomputed = -(-step // self.tokens), -(-step // checkpointing_tokens)
        time_cut = max(cut * self._tokens_per_pass, step)
        return _RECOMPUTATION * max(recomputed * self._tokens_per_pass, step) < time_cut

    def shrink(self, examples: Sequence[TrainingExample]) -> bool:
        """Halve the micro-batches; where each has one example, switch gradient checkpointing on.

        Args:
            examples: Of a step that ran out of memory.

        Returns:
            False if neither is possible.
        """
        sizes = [count_tokens(example) for example in examples]  # at least their tokens in a packed row
        if any(size + next_size <= self.tokens for size, next_size in pairwise(sizes)):
            self.tokens = min(self.tokens, sum(sizes)) // 2
            return True
        return self._enable_checkpointing()

    def apply(self, model: Any) -> None:
        """Switch gradient checkpointing on in `model` if it is on in the budget; may be repeated."""
        if self.checkpointing:
            unwrap_peft(model).gradient_checkpointing_enable({"use_reentrant": False})

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint stores."""
        return {"tokens": self.tokens, "checkpointing": self.checkpointing}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`; that of an early version has no `checkpointing`."""
        self.tokens = state["tokens"]
        self.checkpointing = state.get("checkpointing", self.checkpointing)

    def _enable_checkpointing(self) -> bool:
        if self.checkpointing or self._checkpointing_tokens is None:
            return False
        self.checkpointing, self.tokens = True, self._checkpointing_tokens
        return True


def token_budget_for(model: Any, config: TrainConfig, device: torch.device | None = None) -> TokenBudget:
    """The budget of a loaded model, from the free memory. All processes must call this, and get the same budget.

    Activations may take 85 % of the memory that gradients, optimizer state and copies in bf16 leave free on a GPU,
    and half of it on a CPU: their size is estimated from the shape of a dense decoder layer. On CUDA the loop shrinks
    the budget if it is too large.

    Args:
        model: Before training.
        config: Settings of training.
        device: Where the model or its shards will be; by default where the model is.

    Returns:
        The budget, before `TokenBudget.fit`.
    """
    current = device_of(model)
    device = device or current
    shards = distributed.world_size() if config.sharding != "none" else 1
    weights = sum(each.nbytes for each in model.parameters())
    state = training_state_bytes(model, config, device.type)
    if config.sharding == "zero3" and shards > 1 and device.type != "cpu":  # the rest is on the CPU
        size = HALF_PRECISION if config.bf16_on(device.type) else 4
        weights, state = size * sum(each.numel() for each in model.parameters()), 0
    moved = 0 if device.type == current.type else weights
    sharing = distributed.local_world_size() if device.type == "cpu" else 1  # processes of one machine
    free = free_memory(device) // sharing - (moved + state) // shards
    if config.memory_gib is not None:
        free = min(free, config.memory_bytes - (weights + state) // shards)
    free = min(distributed.all_gather(free))
    return token_budget_within(free, unwrap_peft(model).config, config, device.type)


def token_budget_within(free: int, model_config: Any, config: TrainConfig, device_type: str) -> TokenBudget:
    """The budget whose activations take the usual share of the free memory.

    Args:
        free: Bytes.
        model_config: Of transformers.
        config: Settings of training.
        device_type: Such as `cuda`.

    Returns:
        The budget, before `TokenBudget.fit`.
    """
    usable = _usable(free, device_type)

    def estimate(*, checkpointing: bool) -> int:
        per_token = activation_bytes(model_config, config, device_type, checkpointing=checkpointing)
        return usable // per_token

    def tokens(*, checkpointing: bool) -> int:
        return config.max_tokens_per_forward or max(_MIN_TOKENS, estimate(checkpointing=checkpointing))

    if config.gradient_checkpointing is False:
        return TokenBudget(tokens(checkpointing=False))
    plain, checkpointing_tokens = tokens(checkpointing=False), tokens(checkpointing=True)
    if config.gradient_checkpointing == "auto":
        return TokenBudget(
            plain,
            estimate=estimate(checkpointing=False),
            checkpointing_tokens=checkpointing_tokens,
            tokens_per_pass=tokens_per_pass(model_config) if device_type == "cuda" else 0,
        )
    budget = TokenBudget(plain, estimate=0, checkpointing_tokens=checkpointing_tokens)
    budget.fit(0)
    return budget


def smallest_forward_fits(free: int, model_config: Any, config: TrainConfig, device_type: str) -> bool:
    """Whether the usual share of `free` bytes is enough for the smallest forward pass, of 512 tokens.

    Args:
        free: Bytes.
        model_config: Of transformers.
        config: Settings of training.
        device_type: Such as `cuda`.
    """
    checkpointing = config.gradient_checkpointing is not False
    return _usable(free, device_type) >= _MIN_TOKENS * activation_bytes(
        model_config, config, device_type, checkpointing=checkpointing
    )


def tokens_per_pass(model_config: Any) -> int:
    """How many tokens a GPU computes in the time that the host needs to launch one forward and backward pass."""
    shape = model_config.get_text_config()
    layer_weights = 4 * shape.hidden_size**2 + 3 * shape.hidden_size * intermediate_size(shape)
    return int(_SECONDS_PER_LAYER * _FLOPS / (6 * layer_weights))


def _usable(free: int, device_type: str) -> int:
    """Bytes for activations, of those that are free."""
    if device_type == "cpu":
        return int(max(0, free) * _CPU_SHARE)
    return int(max(0, _GPU_SHARE * free - _LOGIT_BYTES))


def out_of_memory(what: str) -> EffaceError:
    """The error for what cannot be made smaller."""
    return EffaceError(
        f"{what} does not fit in the GPU's memory; train adapters (train.lora=true, train.lora.bits=4 for less), set "
        "train.optimizer=adamw8bit or use a smaller model; efface doctor says what fits"
    )
