"""The output of a layer from a forward pass that ends there."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

from efface.errors import EffaceError
from efface.packing.forward import backbone_of
from efface.packing.layers import check_layers, decoder_layers, layer_stack, layer_states
from efface.packing.packed_batch import pack
from efface.packing.support import packed_or_padded
from efface.text.sequence import TokenizedSequence
from support.messages import assert_names
from support.tiny import llama

SEQUENCES = [TokenizedSequence("a", [5, 6, 7], [8, 9]), TokenizedSequence("b", [5, 6], [10, 11, 12, 13])]


def plain_states(model, ids, layer):
    """What a whole forward of one sequence gives."""
    with torch.no_grad():
        return backbone_of(model)(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer + 1][0]


def test_the_state_of_the_last_layer_is_not_normalized():
    model = llama().double().eval()
    batch = pack(SEQUENCES[:1])
    with packed_or_padded(model), torch.no_grad():
        states = layer_states(model, batch, 1)
    with torch.no_grad():
        torch.testing.assert_close(model.model.norm(states), model.model(batch.input_ids).last_hidden_state[0])


def unpacked():
    """A model whose sequences are padded."""
    sizes = {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    return hf.AutoModelForCausalLM.from_config(hf.BloomConfig(**sizes))


@pytest.mark.parametrize("make", [llama, unpacked])
def test_states_are_those_of_the_whole_model_and_later_layers_are_not_computed(make):
    model = make().double().eval()
    calls = []
    layers = decoder_layers(model)
    hooks = [layer.register_forward_hook(lambda *_, n=n: calls.append(n)) for n, layer in enumerate(layers)]
    batch = pack(SEQUENCES)
    with packed_or_padded(model), torch.no_grad():
        calls.clear()
        states = layer_states(model, batch, 0)
    assert set(calls) == {0}
    for hook in hooks:
        hook.remove()
    assert decoder_layers(model) == layers
    for sequence, indices in zip(SEQUENCES, batch.token_indices, strict=True):
        torch.testing.assert_close(states[indices], plain_states(model, sequence.ids, 0), atol=1e-6, rtol=1e-6)


def test_a_longer_list_of_experts_is_not_the_list_of_layers():
    model = llama()
    model.model.layers[0].experts = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(9))
    assert layer_stack(model) == (model.model, "layers")
    assert decoder_layers(model) == list(model.model.layers)


def test_the_model_is_whole_again_after_an_error():
    model = llama()
    before = decoder_layers(model)
    batch = pack([TokenizedSequence("a", [5, 10**6], [8])])
    with packed_or_padded(model), pytest.raises(IndexError):
        layer_states(model, batch, 0)
    assert decoder_layers(model) == before
    assert not before[0]._forward_hooks


def test_gradients_with_gradient_checkpointing():
    model = llama().double().train()
    batch = pack(SEQUENCES)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        with packed_or_padded(model):
            layer_states(model, batch, 1).square().sum().backward()
        gradients.append(decoder_layers(model)[0].mlp.down_proj.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_a_layer_that_the_model_does_not_have():
    model = llama()
    last = len(decoder_layers(model)) - 1
    check_layers(model, (0, last))
    with pytest.raises(EffaceError) as error:
        check_layers(model, (0, last + 1))
    assert_names(str(error.value), f"layer {last + 1}", f"from 0 to {last}", "rmu.layer", "embed.layer")
