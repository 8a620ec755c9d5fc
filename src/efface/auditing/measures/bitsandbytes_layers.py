"""The linear layers of a model, replaced by those of bitsandbytes for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from efface.auditing.measures.round_to_nearest import Width, linear_weights
from efface.errors import EffaceError, install_hint
from efface.models.quantization import check_quantization
from efface.packing.forward import unwrap_peft
from efface.train.config import LoRAConfig


def why_not_available(device: torch.device) -> str | None:
    """Why layers of bitsandbytes cannot be tried on a device, as a sentence; None where they can."""
    if device.type != "cuda":
        return f"it needs a CUDA GPU, not {device.type}, where bitsandbytes computes what quantize does"
    for bits in (4, 8):
        try:
            check_quantization(LoRAConfig(bits=bits), device)
        except EffaceError as error:
            if isinstance(error.__cause__, ModuleNotFoundError):
                return f"bitsandbytes is not installed; {install_hint('quantized')}"
            return f"bitsandbytes does not work here ({error.__cause__})"
    return None


@contextmanager
def bitsandbytes_layers(model: Any, width: Width) -> Iterator[None]:
    """Replace every linear layer but the output head for the block, then put the model's own back.

    Args:
        model: A causal language model, possibly inside PEFT.
        width: The format.
    """
    inner = unwrap_peft(model)
    transposed = {each.name.removesuffix(".weight"): each.transposed for each in linear_weights(model)}
    own = {name: inner.get_submodule(name) for name in transposed}
    try:
        for name, layer in own.items():
            inner.set_submodule(name, _quantized(layer, width, transposed=transposed[name]))
        yield
    finally:
        for name, layer in own.items():
            inner.set_submodule(name, layer)


def _quantized(layer: Any, width: Width, *, transposed: bool) -> Any:
    """A layer of bitsandbytes with the weights of another one, on the same device."""
    from bitsandbytes import nn

    weight = layer.weight.detach()
    weight = (weight.T if transposed else weight).contiguous().cpu()  # quantized on the way to the device
    outputs, inputs = weight.shape
    if width == "int8":
        made = nn.Linear8bitLt(inputs, outputs, bias=False, has_fp16_weights=False)
        made.weight = nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        # as transformers has it: scales are not quantized once more
        settings = {"quant_type": width, "compress_statistics": False}
        made = nn.Linear4bit(inputs, outputs, bias=False, compute_dtype=layer.weight.dtype, **settings)
        made.weight = nn.Params4bit(weight, requires_grad=False, **settings)
        made.support_avx512bf16_for_cpu = False  # it would pack the weights again, for another kernel
    made.bias = layer.bias
    return made.to(layer.weight.device)
