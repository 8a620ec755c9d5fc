from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.auditing.measures.round_to_nearest import (
    BLOCK,
    LEVELS,
    Width,
    block_scales,
    four_bit_codes,
    linear_weights,
    round_model,
    rounded,
)
from support.audit_models import load

WIDTHS: list[Width] = ["int8", "nf4", "fp4"]
SHAPES = [(4, 64), (3, 50), (1, 7), (130, 33)]


def weights(shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_four_bits_are_those_of_bitsandbytes(width: Any, shape: tuple[int, int]) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    table = functional.get_4bit_type(width, "cpu")
    assert sorted({round(each, 6) for each in table.tolist()}) == [round(each, 6) for each in LEVELS[width]]
    weight = weights(shape)
    packed, state = functional.quantize_4bit(weight, blocksize=BLOCK, quant_type=width)
    expected = functional.dequantize_4bit(packed, state)
    assert rounded(weight, width).tolist() == [pytest.approx(row, abs=1e-6) for row in expected.tolist()]
    high, low = (packed.flatten() >> 4).long(), (packed.flatten() & 15).long()
    codes = torch.stack([high, low], dim=1).flatten()[: weight.numel()]
    ours = torch.tensor(LEVELS[width])[four_bit_codes(weight, width)].flatten()
    assert torch.allclose(table[codes], ours, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_eight_bits_are_those_of_bitsandbytes(shape: tuple[int, int]) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = weights(shape).half()  # bitsandbytes takes no float32 here
    codes, scales, _ = functional.int8_vectorwise_quant(weight)
    expected = codes.float() * scales[:, None] / 127
    assert torch.allclose(rounded(weight.float(), "int8"), expected, atol=1e-6)


@given(st.integers(0, 1000), st.sampled_from(WIDTHS), st.sampled_from(SHAPES))
@settings(max_examples=40, deadline=None)
def test_rounding_is_idempotent_and_within_half_a_step(seed: int, width: Width, shape: tuple[int, int]) -> None:
    weight = weights(shape, seed)
    result = rounded(weight, width)
    assert torch.allclose(rounded(result, width), result, rtol=1e-6, atol=0)
    if width == "int8":
        half_B = (weight.abs().amax(dim=1, keepdim=True) / 127 / 2).expand_as(weight).flatten()
    else:
        gaps = torch.tensor(LEVELS[width]).diff().max() / 2
        half_B = (gaps * block_scales(weight)).repeat_interleave(BLOCK)[: weight.numel()]
        assert torch.equal(four_bit_codes(result, width), four_bit_codes(weight, width))
    assert ((result - weight).abs().flatten() <= half_B * 1.0001).all()


@pytest.mark.parametrize("width", ["nf4", "fp4"])
def test_the_nearest_level_is_taken(width: Any) -> None:
    weight = weights((5, 40))
    levels = torch.tensor(LEVELS[width])
    scales = block_scales(weight).repeat_interleave(BLOCK)[: weight.numel()]
    nearest = ((weight.flatten() / scales)[:, None] - levels).abs().argmin(dim=1)
    assert torch.equal(four_bit_codes(weight, width).flatten(), nearest)


@pytest.mark.parametrize("width", WIDTHS)
def test_zeros_stay_zeros_and_the_dtype_stays(width: Width) -> None:
    assert torch.equal(rounded(torch.zeros(2, 70), width), torch.zeros(2, 70))
    assert rounded(weights((2, 70)).bfloat16(), width).dtype == torch.bfloat16


@pytest.mark.parametrize("width", WIDTHS)
def test_outputs_may_be_columns(width: Width) -> None:
    weight = weights((6, 64))
    assert torch.equal(rounded(weight.T.contiguous(), width, transposed=True), rounded(weight, width).T)


def test_embeddings_head_and_norms_are_not_rounded() -> None:
    model = load()
    before = {name: each.clone() for name, each in model.named_parameters()}
    names = {each.name for each in linear_weights(model)}
    assert "lm_head.weight" not in names
    assert {name for name in before if ".layers." in name and "norm" not in name} == names
    round_model(model, "nf4")
    changed = {name for name, each in model.named_parameters() if not torch.equal(each, before[name])}
    assert changed == names
    assert all(torch.equal(each.weight, rounded(before[each.name], "nf4")) for each in linear_weights(model))


def test_gpt2_has_columns_as_outputs() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2))
    found = list(linear_weights(model))
    assert len(found) == 4
    assert all(each.transposed for each in found)
