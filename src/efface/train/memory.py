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
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    per_token = activation_bytes(unwrapped(model).config, config, device.type)
    return tokens_within(free_memory(device), trained=trained, per_token=per_token)


def tokens_within(free: int, *, trained: int, per_token: int) -> int:
    """The token budget that `free` bytes allow once the weights are loaded; `per_token` is `activation_bytes`."""
    free -= trained * 12  # gradient and AdamW's two moments, float32
    return max(_SMALLEST, int(free / 2 / per_token))


def activation_bytes(model_config: Any, config: TrainConfig, device_type: str) -> int:
    """Bytes per token that the layers keep for the backward pass, from the shape of a dense decoder.

    What is kept in truth, measured with tiny models of five architectures: 0.5 to 1.4 times as much.
    """
    shape = model_config.get_text_config()
    layer = layer_values(model_config)
    if config.lora is not None and config.lora.dropout > 0:
        layer += 6 * shape.hidden_size + _intermediate(shape)  # each adapter drops other inputs
    layers = shape.num_hidden_layers
    values = layers * shape.hidden_size + layer if config.gradient_checkpointing else layers * layer
    return int(values * (2 if config.bf16_on(device_type) else 4))


def layer_values(model_config: Any) -> int:
    """Values per token that one layer makes: two norms, q, k, v, attention, residuals; gate, up, product."""
    shape = model_config.get_text_config()
    return int(10 * shape.hidden_size + 5 * _intermediate(shape))


def free_memory(device: torch.device) -> int:
    """Free memory in bytes of a GPU, or of this machine; inside a container that which its limit leaves."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free: int = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return min(free, limit - used + _idle_file_cache())


def _intermediate(shape: Any) -> int:
    return int(getattr(shape, "intermediate_size", None) or 4 * shape.hidden_size)


def _idle_file_cache() -> int:
    """Bytes of files that a container's limit counts, such as weights once read, and that make way when asked."""
    try:
        lines = (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
