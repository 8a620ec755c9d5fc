"""What ZeRO-3 is refused for, and the module of its engine; trainings are in `test_zero_model`."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.train.config import TrainConfig
from efface.train.distribution import zero_engine
from efface.train.distribution.zero_engine import ComputeModule, ZeroSettings, check_zero
from support.tiny import llama

ZERO3 = TrainConfig(sharding="zero3")


def test_without_deepspeed_it_is_refused(monkeypatch):
    monkeypatch.setattr(zero_engine, "find_spec", lambda _: None)
    with pytest.raises(EffaceError, match=r"train\.sharding=zero3 needs deepspeed.*pip install.*\[deepspeed\]"):
        check_zero(ZERO3)
    check_zero(TrainConfig(sharding="fsdp2"))


def test_a_loss_that_ends_inside_the_model_is_refused(monkeypatch):
    monkeypatch.setattr(zero_engine, "find_spec", lambda _: object())
    check_zero(ZERO3, whole=True)
    with pytest.raises(EffaceError, match=r"train\.sharding=zero3 .*no gradient.*fsdp2.*rmu\+gd"):
        check_zero(ZERO3, whole=False)
    check_zero(TrainConfig(sharding="fsdp2"), whole=False)


@pytest.mark.parametrize("tied", [False, True])
def test_the_weights_of_the_head_are_gathered_for_the_whole_call(tied):
    model = llama(tied=tied)
    module = ComputeModule(model)
    assert [id(each) for each in module.parameters(recurse=False)] == [id(model.lm_head.weight)]
    module.compute = lambda inner: inner.lm_head.weight.sum()
    assert module().requires_grad
    with torch.no_grad():
        assert module() == ()  # hooks look at what is returned
    assert module.result == model.lm_head.weight.sum()


def test_while_hooks_are_registered_the_head_is_no_module_of_the_model():
    model = llama(tied=False)
    names, head = [name for name, _ in model.named_modules()], model.lm_head
    with zero_engine._without_head(model):
        assert head not in set(model.modules())
        assert model.get_output_embeddings() is head
    assert [name for name, _ in model.named_modules()] == names
    assert model.lm_head is head


@pytest.mark.parametrize(("bf16", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_settings_of_the_engine(bf16, dtype):
    settings = ZeroSettings(bf16=bf16, max_grad_norm=None)
    assert settings.dtype == dtype
    assert settings.config["bf16"] == {"enabled": bf16}
    assert settings.config["gradient_clipping"] == 0
    assert ZeroSettings(bf16=bf16, max_grad_norm=0.5).config["gradient_clipping"] == 0.5
