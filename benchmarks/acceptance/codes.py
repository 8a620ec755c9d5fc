"""Part 6: the codes of quantized weights and moments on this device, against their definition and bitsandbytes."""

from __future__ import annotations

import importlib
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from acceptance.sizes import Sizes
from acceptance.stages import Measurements, Row, SkippedError
from efface.models.quantization import quantization_config
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.optimizer.adamw8bit import BLOCK, AdamW8bit
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason

_NF4_BLOCK = 64
_CHUNK = 1 << 20
"""Values that are compared with a table at once."""


def of_weights_and_moments(sizes: Sizes, device: str) -> Measurements:
    """4-bit and 8-bit weights, and the moments of 8-bit AdamW."""
    return {
        "NF4 codes": partial(_nf4, sizes, device),
        "LLM.int8 codes": partial(_int8, sizes, device),
        "codes of 8-bit moments": partial(_moments, sizes, device),
    }


def _nf4(sizes: Sizes, device: str) -> Row:
    """Weights as a run quantizes them with train.lora.bits=4, against the nearest value of the table of NF4."""
    functional = _bitsandbytes()
    weights = _random(sizes, device).to(torch.bfloat16)
    layer = _quantized_layer(weights, 4, device)
    packed = layer.weight.data.view(-1)
    codes = torch.stack([packed >> 4, packed & 15], dim=-1).view(-1)  # the first of two is in the high bits
    table = functional.get_4bit_type("nf4", device=device).to(torch.float32)
    expected = nearest_codes(weights.float().reshape(-1, _NF4_BLOCK), table)
    here, _ = functional.quantize_4bit(weights, quant_type="nf4", blocksize=_NF4_BLOCK)
    on_cpu, _ = functional.quantize_4bit(weights.cpu(), quant_type="nf4", blocksize=_NF4_BLOCK)
    return {
        "values": codes.numel(),
        "differ_from_definition": share_that_differs(codes, expected),
        "differ_from_bitsandbytes": share_that_differs(packed, here.view(-1)),
        "differ_on_cpu": share_that_differs(here.view(-1), on_cpu.view(-1)),
    }


def _int8(sizes: Sizes, device: str) -> Row:
    """Weights as a run quantizes them with train.lora.bits=8, against rounding to 127 levels of each row's maximum."""
    _bitsandbytes()
    weights = _random(sizes, device).to(torch.float16)
    codes = _quantized_layer(weights, 8, device).weight.data
    largest = weights.float().abs().amax(dim=1, keepdim=True)
    expected = (weights.float() * (127 / largest)).round().to(torch.int8)
    return {
        "values": codes.numel(),
        "differ_from_definition": share_that_differs(codes.view(-1), expected.view(-1)),
        "largest_difference": int((codes.int() - expected.int()).abs().max()),
    }


def _moments(sizes: Sizes, device: str) -> Row:
    """The moments of AdamW after one step, against bitsandbytes with the same table and blocks."""
    if (reason := adamw8bit_unsupported_reason(torch.device(device))) is not None:
        raise SkippedError(f"8-bit AdamW needs {reason}")
    from torchao.optim.subclass_8bit import get_qmap_signed, get_qmap_unsigned

    parameter = nn.Parameter(_random(sizes, device).to(torch.bfloat16))
    parameter.grad = _random(sizes, device).to(torch.bfloat16)
    optimizer = AdamW8bit([{"params": [parameter]}], lr=1e-3)
    optimizer.step()
    state, grad = optimizer.state[parameter], parameter.grad.float().view(-1)
    row: Row = {"values": grad.numel()}
    for name, moment, table in (
        ("exp_avg", 0.1 * grad, get_qmap_signed()),
        ("exp_avg_sq", 0.001 * grad.square(), get_qmap_unsigned()),
    ):
        levels = torch.tensor(table, device=device)
        row[f"{name}_differ_from_definition"] = share_that_differs(
            state[f"{name}_codes"], nearest_codes(moment.view(-1, BLOCK), levels)
        )
        if find_spec("bitsandbytes") is not None:
            codes, _ = _bitsandbytes().quantize_blockwise(moment, code=levels, blocksize=BLOCK)
            row[f"{name}_differ_from_bitsandbytes"] = share_that_differs(state[f"{name}_codes"], codes.view(-1))
    return row


def _bitsandbytes() -> Any:
    if find_spec("bitsandbytes") is None:
        raise SkippedError("bitsandbytes is not installed")
    return importlib.import_module("bitsandbytes.functional")


def _quantized_layer(weights: Tensor, bits: int, device: str) -> Any:
    """A linear layer with these weights, quantized as transformers does it with the settings of a run."""
    from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt

    settings = quantization_config(TrainConfig(lora=LoRAConfig(bits=bits)), torch.device(device))
    outputs, inputs = weights.shape
    if bits == 4:
        layer: Any = Linear4bit(
            inputs,
            outputs,
            bias=False,
            compute_dtype=settings.bnb_4bit_compute_dtype,
            compress_statistics=settings.bnb_4bit_use_double_quant,
            quant_type=settings.bnb_4bit_quant_type,
            device="cpu",
        )
        layer.weight.data = weights.cpu()
        return layer.to(device)
    layer = Linear8bitLt(inputs, outputs, bias=False, has_fp16_weights=False, threshold=settings.llm_int8_threshold)
    layer.weight = Int8Params(weights.cpu(), requires_grad=False, has_fp16_weights=False)
    return layer.to(device)


def _random(sizes: Sizes, device: str) -> Tensor:
    generator = torch.Generator(device=device).manual_seed(0)
    return torch.randn(sizes.quantized, generator=generator, device=device)


def nearest_codes(blocks: Tensor, table: Tensor) -> Tensor:
    """The index of the nearest value of a table, after each block is divided by its largest absolute value.

    Args:
        blocks: [N, block].
        table: Ascending, [codes], within -1 and 1.

    Returns:
        [N * block].
    """
    scaled = (blocks / blocks.abs().amax(dim=1, keepdim=True)).view(-1)
    middles = (table[1:].double() + table[:-1].double()) / 2
    parts = [torch.bucketize(part.double(), middles) for part in scaled.split(_CHUNK)]
    return torch.cat(parts)


def share_that_differs(codes: Tensor, others: Tensor) -> float:
    """The share of codes that are not the same."""
    return float((codes.to(torch.int64).cpu() != others.to(torch.int64).cpu()).double().mean())
