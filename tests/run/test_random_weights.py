"""`weights: random`: an untrained model of the same kind, to compare others with."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.models.load import load_model, random_model

pytestmark = pytest.mark.usefixtures("quick_collection")
CPU = torch.device("cpu")


def weights(model):
    return {name: each.detach() for name, each in model.named_parameters()}


def drawn(folder, seed, dtype=torch.float32):
    return random_model(folder, dtype=dtype, device=CPU, seed=seed)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_seed_the_same_weights_and_none_of_the_models_own(source):
    stored = weights(load_model(source, dtype=torch.float32, device=CPU))
    state = torch.get_rng_state()
    first, again, other = (weights(drawn(source, seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: each.shape for name, each in first.items()} == {name: each.shape for name, each in stored.items()}
    assert same(first, again)
    matrices = [name for name, each in first.items() if each.ndim > 1]
    assert matrices
    for name in matrices:
        assert not torch.equal(first[name], stored[name])
        assert not torch.equal(first[name], other[name])


def test_it_is_ready_to_be_asked_in_the_dtype_asked_for(source):
    model = drawn(source, 0, torch.bfloat16)
    assert not model.training
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
    rounded = {name: each.bfloat16() for name, each in weights(drawn(source, 0)).items()}
    assert same(weights(model), rounded)  # drawn in float32, whatever the dtype


def test_what_no_model_can_be_made_of_is_refused(source, monkeypatch):
    from transformers import AutoModelForCausalLM

    def refusing(*_, **__):
        raise ValueError("no such activation\nat all")

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", refusing)
    with pytest.raises(EffaceError, match=r"weights=random: .* cannot be made anew: no such activation$"):
        drawn(source, 0)
