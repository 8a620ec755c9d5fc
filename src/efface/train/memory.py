"""How many tokens fit into one forward and backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from efface.text.forward import device_of, unwrapped
from efface.train.config import TrainConfig
from efface.train.step import Example

_SMALLEST = 512
_CGROUP = Path("/sys/fs/cgroup")


class Budget:
    """Most tokens in one forward.

    Kept in checkpoints: another cut rounds differently and draws other dropout masks, so a resumed run needs the
    one it was started with.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def halve(self, examples: Sequence[Example]) -> None:
        """Cut `examples` into about twice as many parts as now."""
        whole = sum(len(sequence) for example in examples for sequence in example.values())
        self.tokens = min(self.tokens, whole) // 2

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"tokens": self.tokens}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take over what a checkpoint kept."""
        self.tokens = state["tokens"]


def estimate(model: Any, config: TrainConfig) -> int:
    """Tokens whose activations take at most half of the free memory, beside gradients and AdamW's state.

    An estimate from the shape of a dense decoder layer. On CUDA the loop halves it if it proves too large.
    """
    device = device_of(model)
    shape = unwrapped(model).config.get_text_config()
    hidden = shape.hidden_size
    intermediate = getattr(shape, "intermediate_size", None) or 4 * hidden
    # kept for the backward pass per layer: two norms, q, k, v, attention, residuals; gate, up, product
    layer = 10 * hidden + 5 * intermediate
    layers = shape.num_hidden_layers
    values = layers * hidden + layer if config.gradient_checkpointing else layers * layer
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_of_host()
    free -= trainable * 12  # gradient and AdamW's two moments, float32
    return max(_SMALLEST, int(free / 2 / (values * (2 if config.bf16_on(device.type) else 4))))


def _free_of_host() -> int:
    """Free memory in bytes; inside a container that which its limit leaves."""
    free: int = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return min(free, limit - used)
