"""Layers of bitsandbytes in the place of a model's own, on a CPU, where that package works, too."""

from __future__ import annotations

import sys

import pytest
import torch

from efface.auditing.measures.bitsandbytes_layers import bitsandbytes_layers, why_not_available
from efface.auditing.measures.round_to_nearest import Width, round_model
from efface.models.load import load_model
from support.messages import assert_names
from support.quantized import wide_llama
from support.run_fixtures import GOLDEN

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 60, 7, 8, 90, 11, 12, 13]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return wide_llama(GOLDEN, tmp_path_factory.mktemp("wide"))


@torch.no_grad()
def logits(model):
    return model(IDS).logits.clone()


# bf16 weights lie half way between two levels of FP4 now and then, and then both are right
@pytest.mark.parametrize(("width", "largest"), [("nf4", 1e-4), ("fp4", 0.1), ("int8", 1e-3)])
def test_a_model_computes_what_its_rounded_weights_do(folder, width: Width, largest: float) -> None:
    pytest.importorskip("bitsandbytes")
    model, rounded = (load_model(folder, dtype=torch.float32, device=CPU) for _ in range(2))
    before, layers = logits(model), list(model.modules())
    round_model(rounded, width)
    with bitsandbytes_layers(model, width):
        kinds = {type(module).__name__ for name, module in model.named_modules() if name.endswith("_proj")}
        assert kinds == {"Linear8bitLt" if width == "int8" else "Linear4bit"}
        assert (logits(model) - logits(rounded)).abs().max() < largest
        assert (logits(model) - before).abs().max() > 10 * largest
    assert list(model.modules()) == layers
    assert torch.equal(logits(model), before)


def test_a_failure_puts_the_layers_back(folder) -> None:
    pytest.importorskip("bitsandbytes")
    model = load_model(folder, dtype=torch.float32, device=CPU)
    layers = list(model.modules())
    with pytest.raises(RuntimeError), bitsandbytes_layers(model, "nf4"):
        raise RuntimeError
    assert list(model.modules()) == layers


def test_a_cpu_and_a_missing_package_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_names(str(why_not_available(CPU)), "CUDA", "cpu")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert_names(str(why_not_available(torch.device("cuda"))), "bitsandbytes", "quantized")
