"""A live reference does not train, has no dropout, and with an adapter is the base model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from efface.packing.attention import packed_attention_enabled
from efface.packing.forward import unwrap_peft
from efface.reference.live import LiveReference
from efface.text.sequence import TokenizedSequence

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
def test_logits_are_those_of_the_model(positions):
    model = base().eval()
    with torch.no_grad():
        logits_by_item = [model(torch.tensor([item.prompt + item.answer])).logits[0, :-1] for item in ITEMS]
    if positions == "answer":
        logits_by_item = [each[-len(item.answer) :] for each, item in zip(logits_by_item, ITEMS, strict=True)]
    torch.testing.assert_close(logits(LiveReference(model), positions), torch.cat(logits_by_item))


@pytest.mark.parametrize("training", [False, True])
def test_with_the_adapter_off_it_is_the_base_model(adapted, training):
    adapted.train(training)
    with packed_attention_enabled(unwrap_peft(adapted)):  # as in a training step
        without_adapter = logits(LiveReference(adapted, adapter_off=True))
    torch.testing.assert_close(without_adapter, logits(LiveReference(base())))
    assert adapted.training == training


def test_the_adapter_is_active_again_afterwards(adapted):
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
    """In training mode, two results of a model with dropout would differ."""
    adapted.train()
    reference = LiveReference(adapted)
    first, second = logits(reference), logits(reference)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert adapted.training


def test_the_mode_is_restored_after_an_error(adapted):
    adapted.train()
    with pytest.raises(AttributeError), packed_attention_enabled(unwrap_peft(adapted)):
        LiveReference(adapted, adapter_off=True).hidden_states([None], "all")
    assert adapted.training
