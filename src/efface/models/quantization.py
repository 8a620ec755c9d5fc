"""Quantized weights: how a base model is quantized for adapters, and which stored models already are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from efface.errors import EffaceError, first_line, install_hint
from efface.models.folder import load_model_config
from efface.models.lora import has_experts
from efface.packing.forward import unwrap_peft
from efface.train.config import LoRAConfig, TrainConfig

_MXFP4 = "mxfp4"
"""Quantization in which GPT-OSS is published; efface dequantizes it when it loads."""


def quantization_config(config: TrainConfig, device: torch.device) -> Any:
    """How transformers quantizes the base model of adapters while it loads.

    4 bits are NF4 (arXiv:2305.14314), multiplied in the precision of training; 8 bits are LLM.int8 (arXiv:2208.07339),
    multiplied in integers. Output head, embeddings and norms stay unquantized.

    Args:
        config: Training settings; `lora.bits` decides.
        device: Where the model is trained.

    Returns:
        transformers' `BitsAndBytesConfig`; None where the base stays unquantized.
    """
    from transformers import BitsAndBytesConfig

    match config.lora.bits if config.lora else None:
        case 4:
            precision = torch.bfloat16 if config.bf16_on(device.type) else torch.float32
            return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=precision)
        case 8:
            return BitsAndBytesConfig(load_in_8bit=True)
    return None


def check_quantization(config: LoRAConfig, device: torch.device) -> None:
    """Quantize a few numbers, to find out early whether that works.

    Args:
        config: Adapter settings; nothing is checked where `bits` is None.
        device: Where the model is trained.

    Raises:
        EffaceError: Where bitsandbytes is not installed, or does not work on `device`.
    """
    if config.bits is None:
        return
    setting = f"train.lora.bits={config.bits}"
    try:
        from bitsandbytes import functional

        numbers = torch.zeros(1, 64, dtype=torch.float16, device=device)
        if config.bits == 4:
            functional.quantize_4bit(numbers, quant_type="nf4")
        else:
            functional.int8_vectorwise_quant(numbers)
    except ModuleNotFoundError as error:
        raise EffaceError(f"{setting} needs bitsandbytes; {install_hint('quantized')}") from error
    except Exception as error:  # each device's libraries raise their own
        raise EffaceError(
            f"{setting}: bitsandbytes does not work on {device.type} here ({first_line(error)}); install a version "
            "that does, or leave train.lora.bits out"
        ) from error


def check_trainable_weights(folder: Path, model: Any, config: TrainConfig) -> None:
    """Refuse to train quantized weights, and to quantize a model most of which would stay unquantized.

    Args:
        folder: The model's folder.
        model: The model, loaded from there.
        config: Training settings.

    Raises:
        EffaceError: Where the model is stored quantized, or `lora.bits` is set for a mixture of experts.
    """
    if (method := stored_quantization(folder)) is not None:
        raise EffaceError(
            f"model {folder} is stored quantized ({method}), and quantized weights cannot be trained; give the model "
            "that it was made from, with train.lora.bits=4 if memory is short"
        )
    bits = config.lora.bits if config.lora else None
    if bits is not None and has_experts(model):
        raise EffaceError(
            f"train.lora.bits={bits}: bitsandbytes does not quantize the experts of {type(model).__name__}, which are "
            "most of the model; leave train.lora.bits out"
        )


def is_quantized(model: Any) -> bool:
    """Whether a loaded model has quantized weights, with or without adapters."""
    return getattr(unwrap_peft(model), "is_quantized", False) is True


def is_unquantized_base(model: Any, dtype: torch.dtype) -> bool:
    """Whether the base of an adapted model has exactly the weights that were stored, neither quantized nor rounded.

    Args:
        model: A model with adapters.
        dtype: The dtype in which the base was stored.

    Returns:
        True for weights in `dtype` or in float32, which represents them exactly.
    """
    loaded = unwrap_peft(model).get_input_embeddings().weight.dtype
    return not is_quantized(model) and loaded in (dtype, torch.float32)


def stored_quantization(folder: Path) -> str | None:
    """The method by which a stored model stays quantized when it is loaded, such as `gptq`; None for unquantized
    weights.

    Args:
        folder: The model's folder.

    Returns:
        The name in its config.json. None for MXFP4, too, which is dequantized (`dequantization_config`).

    Raises:
        EffaceError: As `load_model_config`.
    """
    method = _method_of(folder)
    return None if method == _MXFP4 else method


def dequantization_config(folder: Path) -> Any:
    """How transformers dequantizes a model that is published in MXFP4 only, as GPT-OSS is.

    Args:
        folder: The model's folder.

    Returns:
        transformers' `Mxfp4Config`; None for other models.

    Raises:
        EffaceError: As `load_model_config`.
    """
    from transformers import Mxfp4Config

    return Mxfp4Config(dequantize=True) if _method_of(folder) == _MXFP4 else None


def _method_of(folder: Path) -> str | None:
    settings = getattr(load_model_config(folder), "quantization_config", None)
    # older models do not name the method: bitsandbytes was the only one
    return str(settings.get("quant_method", "bitsandbytes")) if settings else None
