"""The dtype in which models compute that judge outputs."""

from __future__ import annotations

import torch


def judge_dtype(device: torch.device | str) -> torch.dtype:
    """Choose the dtype of a model that judges outputs: bf16 where a GPU has it, else float32.

    Args:
        device: Where the model runs.

    Returns:
        bf16 on CUDA from the Ampere generation on; older cards emulate it.
    """
    if torch.device(device).type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float32
