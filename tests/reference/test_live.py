"""A live reference never trains, never drops out, and with adapters is the model without them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from efface.packing.attention import packed_attention_enabled
from efface.packing.forward import unwrap_peft
from efface.reference.live import LiveReference
from efface.text.formatter import TokenizedSequence

GOLDEN = Path(__file__).parents[1] / "golden"
ITEMS = [TokenizedSequence("a", [5, 6, 7], [8, 9]), TokenizedSequence("b", [40], [41, 42, 43, 1])]


def base():
    return AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64)


@pytest.fixture
def adapted():
    torch.manual_seed(0)
    settings = LoraConfig(r=2, lora_dropout=0.9, target_modules="all-linear", init_lora_weights=False)
    return get_peft_model(base(), settings)


def logits(reference, positions="all"):
    return reference.logits(reference.hidden_states(ITEMS, positions))


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_the_logits_are_the_models_own(positions):
    model = base().eval()
    with torch.no_grad():
        rows = [model(torch.tensor([item.prompt + item.answer])).logits[0, :-1] for item in ITEMS]
    if positions == "answer":
        rows = [row[-len(item.answer) :] for row, item in zip(rows, ITEMS, strict=True)]
    torch.testing.assert_close(logits(LiveReference(model), positions), torch.cat(rows))


@pytest.mark.parametrize("training", [False, True])
def test_the_adapter_switched_off_is_the_base(adapted, training):
    adapted.train(training)
    with packed_attention_enabled(unwrap_peft(adapted)):  # it is asked in the middle of a training step
        found = logits(LiveReference(adapted, adapter_off=True))
    torch.testing.assert_close(found, logits(LiveReference(base())))
    assert adapted.training == training


def test_the_adapter_is_back_afterwards(adapted):
    adapted.eval()
    with_adapter = logits(LiveReference(adapted))
    with packed_attention_enabled(unwrap_peft(adapted)):
        logits(LiveReference(adapted, adapter_off=True))
    torch.testing.assert_close(logits(LiveReference(adapted)), with_adapter)
    assert not torch.allclose(with_adapter, logits(LiveReference(base())))
    trainable = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)


def test_dropout_is_off_and_no_gradient_is_kept(adapted):
    """In training mode, two answers of a model with dropout would differ."""
    adapted.train()
    reference = LiveReference(adapted)
    first, second = logits(reference), logits(reference)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert adapted.training


def test_the_mode_comes_back_after_an_error(adapted):
    adapted.train()
    with pytest.raises(AttributeError), packed_attention_enabled(unwrap_peft(adapted)):
        LiveReference(adapted, adapter_off=True).hidden_states([None], "all")
    assert adapted.training
