"""The dtype of a model's weights: as stored, and as evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from efface.evaluation.config import Precision
from efface.models.folder import load_model_config


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype in a message or manifest, such as `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def stored_dtype(folder: Path) -> torch.dtype:
    """The dtype in which a model is stored.

    Args:
        folder: The model's folder.

    Returns:
        The dtype that its config.json names; float32 where it names none.

    Raises:
        EffaceError: As `load_model_config`.
    """
    return stored_dtype_of(load_model_config(folder))


def stored_dtype_of(model_config: Any) -> torch.dtype:
    """As `stored_dtype`, from the model's config.json."""
    return model_config.dtype if isinstance(model_config.dtype, torch.dtype) else torch.float32


def evaluation_dtype(folder: Path, device: torch.device, precision: Precision = "auto") -> torch.dtype:
    """The dtype in which a model is evaluated.

    Args:
        folder: The model's folder.
        device: Where it is evaluated.
        precision: `evaluate.precision`. `auto` is the stored dtype on a GPU, and float32 on a CPU.

    Returns:
        The dtype to load the model in.

    Raises:
        EffaceError: As `load_model_config`.
    """
    return evaluation_dtype_of(load_model_config(folder), device, precision)


def evaluation_dtype_of(model_config: Any, device: torch.device, precision: Precision) -> torch.dtype:
    """As `evaluation_dtype`, from the model's config.json.

    Args:
        model_config: The model's config.json.
        device: Where it is evaluated.
        precision: As for `evaluation_dtype`.

    Returns:
        The dtype to load the model in.
    """
    if precision == "auto":
        return stored_dtype_of(model_config) if device.type == "cuda" else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32
