"""Which weights are trained."""

from __future__ import annotations

import pytest

from efface.errors import EffaceError
from efface.train.optimizer.trained_weights import choose_trained
from support.messages import assert_names
from support.tiny import llama


def trained(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def test_only_weights_whose_whole_name_matches():
    model = llama()
    choose_trained(model, None)
    assert len(trained(model)) == len([*model.named_parameters()])
    choose_trained(model, r"model\.layers\.1\.mlp\.(up|down)_proj\.weight")
    assert trained(model) == ["model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.down_proj.weight"]
    choose_trained(model, r".*norm.*")
    assert all("norm" in name for name in trained(model))
    with pytest.raises(EffaceError, match="matches no weight"):
        choose_trained(model, r"layers\.1")


def test_a_pattern_that_matches_nothing():
    with pytest.raises(EffaceError) as error:
        choose_trained(llama(), r"transformer\.h\.1")
    assert_names(str(error.value), "train.parameters=", "model.embed_tokens.weight")


@pytest.mark.parametrize("pattern", [r"(([a-z_.0-9])+)+!", "((((a?){1000}){1000}){1000}){1000}"])
def test_a_pattern_that_takes_for_ever_is_refused(pattern, monkeypatch):
    monkeypatch.setattr("efface.train.optimizer.trained_weights._SECONDS", 0.3)
    with pytest.raises(EffaceError) as error:
        choose_trained(llama(), pattern)
    assert_names(str(error.value), "train.parameters=", "repetition")
