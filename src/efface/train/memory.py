"""How many tokens fit into one forward and backward pass."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from efface.text.forward import unwrapped

_SMALLEST = 512


def token_budget(model: Any, device: torch.device, *, bytes_per_value: int) -> int:
    """Tokens whose activations take at most half of the free memory, beside gradients and AdamW's state.

    An estimate from the shape of a dense decoder layer. On CUDA the loop halves it if it proves too large.
    """
    config = unwrapped(model).config.get_text_config()
    hidden = config.hidden_size
    intermediate = getattr(config, "intermediate_size", None) or 4 * hidden
    # kept for the backward pass per layer: two norms, q, k, v, attention, residuals; gate, up, product
    per_token = config.num_hidden_layers * (10 * hidden + 5 * intermediate) * bytes_per_value
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    free -= trainable * 12  # gradient and AdamW's two moments, float32
    return max(_SMALLEST, int(free / 2 / per_token))
