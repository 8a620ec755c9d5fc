"""Round weights to 8 or 4 bits: the formats of bitsandbytes without its kernels, the same numbers on every device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from efface.packing.forward import unwrap_peft

Width = Literal["int8", "nf4", "fp4"]
BLOCK = 64
"""Weights that share a scale in 4 bits."""

_NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
_FP4 = (0.0052083333, 1 / 6, 0.25, 1 / 3, 0.5, 2 / 3, 1.0)
LEVELS: dict[str, tuple[float, ...]] = {"nf4": _NF4, "fp4": (*(-each for each in reversed(_FP4)), 0.0, *_FP4)}
"""The numbers of a 4-bit format, ascending, as shares of the largest absolute weight of a block: NF4 of QLoRA
(arXiv:2305.14314, appendix E), and the format that bitsandbytes calls FP4."""


class LinearWeight(NamedTuple):
    """A weight matrix that quantization rounds."""

    name: str
    """In `named_parameters` of the model."""
    weight: Tensor
    transposed: bool
    """Whether its columns are outputs, as in GPT-2, and not its rows."""


def linear_weights(model: Any) -> Iterator[LinearWeight]:
    """List the weights of all linear layers but the output head, whose rounding few do, as of embeddings.

    Args:
        model: A causal language model, possibly inside PEFT.
    """
    from transformers.pytorch_utils import Conv1D

    inner = unwrap_peft(model)
    head = inner.get_output_embeddings()
    for name, module in inner.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head:
            yield LinearWeight(f"{name}.weight", module.weight, isinstance(module, Conv1D))


def block_scales(weight: Tensor) -> Tensor:
    """Largest absolute weight [B] of each block of `BLOCK` weights, row after row; 1 for a block of zeros."""
    flat = _blocks(weight).abs().amax(dim=1)
    return torch.where(flat > 0, flat, 1.0)


def four_bit_codes(weight: Tensor, width: Literal["nf4", "fp4"]) -> Tensor:
    """Find the nearest level of each weight.

    Args:
        weight: Any shape.
        width: The format.

    Returns:
        Indices into `LEVELS[width]`, in the shape of `weight`.
    """
    levels = torch.tensor(LEVELS[width], device=weight.device)
    scaled_BK = _blocks(weight) / block_scales(weight)[:, None]
    codes: Tensor = torch.bucketize(scaled_BK, (levels[1:] + levels[:-1]) / 2)
    return codes.flatten()[: weight.numel()].view(weight.shape)


def rounded(weight: Tensor, width: Width, *, transposed: bool = False) -> Tensor:
    """Quantize and dequantize a weight matrix.

    Args:
        weight: A matrix, of any dtype.
        width: `int8`: 255 levels up to the largest absolute weight of each output (LLM.int8 without its outliers,
            arXiv:2208.07339); `nf4`, `fp4`: the nearest level of each block.
        transposed: Whether columns are outputs.

    Returns:
        The nearest numbers of the format, in shape and dtype of `weight`.
    """
    exact = weight.detach().float()
    exact = exact.T.contiguous() if transposed else exact  # bitsandbytes stores outputs as rows
    if width == "int8":
        largest = exact.abs().amax(dim=1, keepdim=True)
        scale = torch.where(largest > 0, largest, 1.0)
        result = torch.round(exact * (127 / scale)) * scale / 127
    else:
        levels = torch.tensor(LEVELS[width], device=weight.device)
        shares_BK = _blocks(levels[four_bit_codes(exact, width)])
        result = (shares_BK * block_scales(exact)[:, None]).flatten()[: exact.numel()].view(exact.shape)
    return (result.T if transposed else result).to(weight.dtype)


@torch.no_grad()
def round_model(model: Any, width: Width) -> None:
    """Round every linear weight of a model in place, but embeddings and head.

    Args:
        model: A causal language model, possibly inside PEFT.
        width: The format.
    """
    for _, weight, transposed in linear_weights(model):
        weight.copy_(rounded(weight, width, transposed=transposed))


def _blocks(weight: Tensor) -> Tensor:
    """The weights in float32, [B, BLOCK], the last block filled with zeros."""
    flat = weight.detach().float().flatten()
    return torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
