"""How many tokens fit into one forward and backward pass, and whether layers are computed again to save memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import torch

from efface import distributed
from efface.hardware.memory import free_memory
from efface.packing.forward import device_of, unwrap_peft
from efface.train.config import TrainConfig
from efface.train.optimizer import state_bytes
from efface.train.step import Example, tokens_of

_SMALLEST = 512
_HALF_PRECISION = 2


class TokenBudget:
    """Most tokens in one forward, and whether it keeps the inputs of layers alone (gradient checkpointing).

    Kept in checkpoints: another cut rounds differently and draws other dropout masks, so a resumed run needs the
    one it was started with.
    """

    def __init__(self, tokens: int, *, room: int | None = None, checkpointed: int | None = None) -> None:
        """`checkpointed`: tokens where checkpointing is on; None where it may not be switched on, or is on already.

        `room`: tokens that memory is thought to hold, whatever was asked for; None for any number.
        """
        self.tokens = tokens
        self.checkpointing = False
        self._room, self._checkpointed = room, checkpointed

    def fit(self, largest: int) -> None:
        """Switch checkpointing on where an example of `largest` tokens would not fit without it."""
        if self._room is not None and self._room < max(largest, _SMALLEST):
            self._checkpoint()

    def smaller(self, examples: Sequence[Example]) -> bool:
        """After `examples` ran out of memory: halve the forwards; with one example in each, switch checkpointing on.

        False where neither is left.
        """
        sizes = [tokens_of(example) for example in examples]
        if any(one + next_ <= self.tokens for one, next_ in pairwise(sizes)):
            self.tokens = min(self.tokens, sum(sizes)) // 2
            return True
        return self._checkpoint()

    def apply(self, model: Any) -> None:
        """Switch checkpointing on in `model` if it is to be; asked again, nothing changes."""
        if self.checkpointing:
            unwrap_peft(model).gradient_checkpointing_enable({"use_reentrant": False})

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"tokens": self.tokens, "checkpointing": self.checkpointing}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept; one of an older version tells of tokens alone."""
        self.tokens = state["tokens"]
        self.checkpointing = state.get("checkpointing", self.checkpointing)

    def _checkpoint(self) -> bool:
        if self.checkpointing or self._checkpointed is None:
            return False
        self.checkpointing, self.tokens = True, self._checkpointed
        return True


def token_budget_for(model: Any, config: TrainConfig, device: torch.device | None = None) -> TokenBudget:
    """The budget of a model that was not trained yet; the same in all processes, each of which must ask.

    `device`: where the model or its shards will lie, by default where it lies, whole.
    Activations are to take at most half of what is free beside gradients, AdamW's state and autocast's copies: an
    estimate from the shape of a dense decoder layer. On CUDA the loop asks for less if it proves too much.
    """
    here = device_of(model)
    device = device or here
    share = distributed.world_size() if config.sharding == "fsdp2" else 1
    weights = 0 if device.type == here.type else sum(each.nbytes for each in model.parameters())
    needed = (weights + added_bytes(model, config, device.type)) // share
    free = min(distributed.all_gather(free_memory(device) - needed))
    return token_budget_within(free, unwrap_peft(model).config, config, device.type)


def token_budget_within(free: int, model_config: Any, config: TrainConfig, device_type: str) -> TokenBudget:
    """The budget that `free` bytes allow for activations, twice over; `TokenBudget.fit` it to the examples."""

    def room(*, checkpointing: bool) -> int:
        each = activation_bytes(model_config, config, device_type, checkpointing=checkpointing)
        return max(0, free) // 2 // each

    def tokens(*, checkpointing: bool) -> int:
        return config.max_tokens_per_forward or max(_SMALLEST, room(checkpointing=checkpointing))

    if config.gradient_checkpointing is False:
        return TokenBudget(tokens(checkpointing=False))
    plain, saving = tokens(checkpointing=False), tokens(checkpointing=True)
    if config.gradient_checkpointing == "auto":
        return TokenBudget(plain, room=room(checkpointing=False), checkpointed=saving)
    budget = TokenBudget(plain, room=0, checkpointed=saving)
    budget.fit(0)
    return budget


def fits(free: int, model_config: Any, config: TrainConfig, device_type: str) -> bool:
    """Whether `free` bytes are enough for the activations of the smallest forward, twice over."""
    checkpointing = config.gradient_checkpointing is not False
    return free // 2 >= _SMALLEST * activation_bytes(model_config, config, device_type, checkpointing=checkpointing)


def added_bytes(model: Any, config: TrainConfig, device_type: str) -> int:
    """What training adds to the loaded weights before the first token: gradients, AdamW's state, autocast's copies."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    state: int = sum(each.nbytes + state_bytes(each, config) for each in trained)
    return state + (copied_bytes(model) if config.bf16_on(device_type) else 0)


def copied_bytes(model: Any, rounded: Collection[int] = ()) -> int:
    """Bytes of autocast's bf16 copies: of float32 matrices that tokens are multiplied with, so not of embeddings.

    `rounded`: ids of weights to leave out. Those that are rounded in truth are no floats.
    """
    inner = unwrap_peft(model)
    lookup, head = inner.get_input_embeddings().weight, inner.get_output_embeddings().weight
    multiplied = (each for each in inner.parameters() if each.ndim >= 2 and (each is not lookup or each is head))
    whole = (each for each in multiplied if each.dtype == torch.float32 and id(each) not in rounded)
    return _HALF_PRECISION * sum(int(each.numel()) for each in whole)


def activation_bytes(model_config: Any, config: TrainConfig, device_type: str, *, checkpointing: bool) -> int:
    """Bytes per token that the layers keep for the backward pass, from the shape of a dense decoder.

    What is kept in truth, measured with tiny models of five architectures: 0.5 to 1.4 times as much; in bf16, where
    norms stay float32, up to twice as much.
    """
    shape = model_config.get_text_config()
    layer = layer_values(model_config)
    if config.lora is not None and config.lora.dropout > 0:
        layer += 6 * shape.hidden_size + _intermediate(shape)  # each adapter drops other inputs
    layers = shape.num_hidden_layers
    values = layers * shape.hidden_size + layer if checkpointing else layers * layer
    return int(values * (_HALF_PRECISION if config.bf16_on(device_type) else 4))


def layer_values(model_config: Any) -> int:
    """Values per token that one layer makes: two norms, q, k, v, attention, residuals; gate, up, product."""
    shape = model_config.get_text_config()
    return int(10 * shape.hidden_size + 5 * _intermediate(shape))


def _intermediate(shape: Any) -> int:
    return int(getattr(shape, "intermediate_size", None) or 4 * shape.hidden_size)
