from __future__ import annotations

from typing import Any

import pytest
import torch

from efface.auditing.measures.layer_states import LensDecoder, Target, layer_states, patched_logprobs, target_logprob
from efface.errors import EffaceError
from support.audit_models import InMemory, load, subject

TARGET = Target([5, 6, 7, 8, 9, 10, 11], 3, 2)


@pytest.fixture(scope="module")
def model() -> Any:
    return load()


@pytest.fixture(scope="module")
def other() -> Any:
    return load("reference")


def own_logprob(model: Any, target: Target = TARGET) -> float:
    """Mean log-probability of the target's tokens, by the model itself."""
    with torch.no_grad():
        logprobs = model(torch.tensor([target.ids])).logits[0].log_softmax(-1)
    places = range(target.first - 1, target.first - 1 + target.count)
    return sum(float(logprobs[place, target.ids[place + 1]]) for place in places) / target.count


def small(kind: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    shape: dict[str, Any] = {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    shape |= {"intermediate_size": 24, "max_position_embeddings": 32, "ffn_dim": 24, "word_embed_proj_dim": 16}
    if kind == "gpt2":
        shape = {"vocab_size": 61, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32}
    if kind == "gemma2":
        shape |= {"head_dim": 8, "num_key_value_heads": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape)).eval()


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "gemma2", "opt"])
def test_the_last_layer_decodes_to_the_models_own_prediction(kind: str) -> None:
    model = small(kind)
    states = layer_states(model, TARGET)
    assert states.shape == (3, 2, 16)
    by_layer = LensDecoder(model, None).logprobs(states, TARGET.tokens)
    assert float(by_layer[-1]) == pytest.approx(own_logprob(model), abs=1e-5)
    assert patched_logprobs(model, TARGET, states).tolist() == pytest.approx([own_logprob(model)] * 3, abs=1e-5)


def test_the_decoder_is_that_of_the_model_before(model: Any, other: Any) -> None:
    """A model with another head and norm is read as if it had those of the model before."""
    decoder = LensDecoder(other, InMemory(subject(model)))
    states = layer_states(model, TARGET)
    assert (
        decoder.logprobs(states, TARGET.tokens).tolist()
        == LensDecoder(model, None).logprobs(states, TARGET.tokens).tolist()
    )
    assert float(decoder.logprobs(states, TARGET.tokens)[-1]) == pytest.approx(own_logprob(model), abs=1e-5)
    assert own_logprob(other) == pytest.approx(
        float(LensDecoder(other, None).logprobs(layer_states(other, TARGET), TARGET.tokens)[-1]), abs=1e-5
    )


def test_tied_heads_are_read_by_the_name_of_the_embeddings() -> None:
    from support.tiny import llama

    model = llama(tied=True)
    decoder = LensDecoder(model, InMemory(subject(llama(tied=True))))
    assert float(decoder.logprobs(layer_states(model, TARGET), TARGET.tokens)[-1]) == pytest.approx(
        own_logprob(model), abs=1e-5
    )


def test_patching_the_last_layer_gives_the_other_models_states_to_the_head(model: Any, other: Any) -> None:
    states = layer_states(other, TARGET)
    patched = patched_logprobs(model, TARGET, states)
    lens = LensDecoder(model, None).logprobs(states, TARGET.tokens)
    assert float(patched[-1]) == pytest.approx(float(lens[-1]), abs=1e-5)
    assert float(patched[0]) != pytest.approx(own_logprob(model), abs=1e-3)


def test_each_layer_is_patched_alone_and_at_its_positions_only(model: Any, other: Any) -> None:
    states = layer_states(other, TARGET)
    for layer, patched in enumerate(patched_logprobs(model, TARGET, states).tolist()):

        def replace(_module: Any, _inputs: Any, output: Any, layer: int = layer) -> Any:
            changed = (output if isinstance(output, torch.Tensor) else output[0]).clone()
            changed[0, 2:4] = states[layer]
            return changed if isinstance(output, torch.Tensor) else (changed, *output[1:])

        handle = model.model.layers[layer].register_forward_hook(replace)
        try:
            assert own_logprob(model) == pytest.approx(patched, abs=1e-5)
        finally:
            handle.remove()


@pytest.mark.parametrize("first", [1, 3, 6])
def test_the_cache_of_what_comes_before_changes_nothing(
    model: Any, other: Any, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(TARGET.ids, first, 1)
    states = layer_states(other, target)
    cached = patched_logprobs(model, target, states)
    monkeypatch.setattr("efface.auditing.measures.layer_states._prefix_cache", lambda *_: None)
    assert cached.tolist() == pytest.approx(patched_logprobs(model, target, states).tolist(), abs=1e-5)
    assert target_logprob(model, target) == pytest.approx(own_logprob(model, target), abs=1e-5)


def test_no_hook_is_left(model: Any, other: Any) -> None:
    before = own_logprob(model)
    patched_logprobs(model, TARGET, layer_states(other, TARGET))
    assert own_logprob(model) == before
    assert not any(module._forward_hooks for module in model.modules())


def test_what_the_lens_cannot_read_is_refused(model: Any) -> None:
    class Scaled(torch.nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 2 * states

    odd = load()
    odd.config.num_hidden_layers = 7
    with pytest.raises(EffaceError, match="no list of 7 layers; leave lens out"):
        layer_states(odd, TARGET)
    doubled = load()
    doubled.model.norm.register_forward_hook(
        lambda _module, _inputs, output: output[:, :, :] * 2 if output.dim() == 3 else output
    )
    with pytest.raises(EffaceError, match="leave lens out"):
        LensDecoder(doubled, None)
