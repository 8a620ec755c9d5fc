"""Cached states with a frozen head equal the live reference, and still do while the model trains."""

from __future__ import annotations

from copy import deepcopy
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from efface.errors import EffaceError
from efface.objectives.config import KLConfig, ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.packing.layers import LayerPositions
from efface.packing.padded_rows import pad
from efface.reference import hidden_states as module
from efface.reference.hidden_states import CachedHiddenStates, stored_bytes
from efface.reference.live import LiveReference
from efface.text.sequence import TokenizedSequence
from efface.train.step import batch_losses
from support.sizes import DENSE

GOLDEN = Path(__file__).parents[1] / "golden"
MADE_BY = {"model": "abc", "precision": "no"}
SIZES = DENSE | {"vocab_size": 97, "pad_token_id": 0}
CONFIGS = {
    "untied": lambda: hf.LlamaConfig(**SIZES),
    "tied": lambda: hf.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "softcap, tied": lambda: hf.Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.5),
    "scaled": lambda: hf.GraniteConfig(**SIZES, logits_scaling=0.125),
    "biased": lambda: hf.PhiConfig(**SIZES | {"num_key_value_heads": 4}),
}


def built(name, dtype):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(CONFIGS[name](), dtype=dtype)
        with torch.no_grad():  # initial logits hardly differ, and initial biases are zero
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.1)
    return model


def items(count=6):
    generator = torch.Generator().manual_seed(7)

    def ids():
        return torch.randint(1, 97, (int(torch.randint(1, 9, (), generator=generator)),), generator=generator).tolist()

    return [TokenizedSequence(str(number), ids(), ids()) for number in range(count)]


ITEMS = items()
EXAMPLES = [{"forget": item, "retain": other} for item, other in zip(ITEMS, ITEMS[::-1], strict=True)]


def cached(model, path, *, positions="answer", sequences=ITEMS, budget=20):
    requests = [(item, positions) for item in sequences]
    return CachedHiddenStates.compute(
        model, requests, path / "states.safetensors", max_tokens_per_forward=budget, made_by=MADE_BY
    )


def trained(model, distribution, positions, *, steps, budget=None):
    """Losses of each step of gradient descent, and the last gradient."""
    bound = objective("ga+kl", ObjectiveConfig(kl=KLConfig(positions=positions)))
    descent = torch.optim.SGD(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        descent.zero_grad()
        parts = batch_losses(
            model,
            bound,
            EXAMPLES,
            Reference(distribution=distribution),
            max_tokens_per_forward=budget,
            backward=torch.Tensor.backward,
        )
        losses.append((parts.forget.item(), parts.retain.item()))
        gradient = torch.cat([weight.grad.flatten() for weight in model.parameters()])
        descent.step()
    return losses, gradient


@pytest.mark.parametrize("positions", ["answer", "all"])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["64", "32"])
def test_losses_and_gradients_equal_those_of_a_live_reference(name, dtype, tolerance, positions, tmp_path):
    """While the head in training moves away from the frozen one, and with other micro-batches than the cache."""
    model = built(name, dtype)
    copy = deepcopy(model)
    ours, gradient = trained(model, cached(model, tmp_path, positions=positions), positions, steps=4, budget=45)
    live, expected = trained(copy, LiveReference(deepcopy(copy)), positions, steps=4, budget=45)
    assert ours[-1][1] > 1e-4
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(live), rtol=tolerance, atol=tolerance)
    assert (gradient - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("name", ["untied", "tied"])
def test_training_does_not_change_the_head(name, tmp_path):
    model = built(name, torch.float32)
    reference = cached(model, tmp_path)
    states = reference.hidden_states(ITEMS, "answer")
    before = reference.logits(states)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    assert torch.equal(reference.logits(states), before)
    assert not before.requires_grad


def test_the_head_is_shared_if_adapters_do_not_train_it_and_dropout_is_off(tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    settings = LoraConfig(r=2, lora_dropout=0.9, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(built("tied", torch.float64), settings).train()
    reference = cached(model, tmp_path, positions="all")
    assert model.training
    assert reference._head._output_embeddings is model.get_base_model().get_output_embeddings()
    torch.testing.assert_close(reference.hidden_states(ITEMS, "all"), LiveReference(model).hidden_states(ITEMS, "all"))


def test_under_autocast_states_are_equal_at_half_the_size(tmp_path):
    """The head would round its input and its weights in every call anyway."""
    model = built("softcap, tied", torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reference = cached(model, tmp_path, budget=1000)
        live = LiveReference(model)
        states = reference.hidden_states(ITEMS, "answer")
        assert torch.equal(reference.logits(states), live.logits(live.hidden_states(ITEMS, "answer")))
        tokens = sum(len(item.answer) for item in ITEMS)
        assert stored_bytes(model, [(item, "answer") for item in ITEMS]) == tokens * 32 * 2
    assert states.dtype == reference._head._output_embeddings.weight.dtype == torch.bfloat16
    assert stored_bytes(model, [(item, "answer") for item in ITEMS]) == tokens * 32 * 4


def test_each_sequence_is_stored_once_with_all_requested_positions(tmp_path):
    model = built("tied", torch.float32)
    first, second, *_ = (item for item in ITEMS if len(item.prompt) > 2)
    again = TokenizedSequence("again", first.prompt, first.answer)
    requests = [(first, "all"), (again, "answer"), (second, "answer")]
    path = tmp_path / "deep" / "states.safetensors"
    reference = CachedHiddenStates.compute(model, requests, path, max_tokens_per_forward=1000, made_by=MADE_BY)
    stored = load_file(path)
    assert {key: len(value) for key, value in stored.items()} == {
        first.key: len(first) - 1,
        second.key: len(second.answer),
    }
    assert sum(value.nbytes for value in stored.values()) == stored_bytes(model, requests)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    live = LiveReference(model)
    torch.testing.assert_close(
        reference.hidden_states([again, first], "all"), live.hidden_states([again, first], "all")
    )
    torch.testing.assert_close(
        reference.hidden_states([second, again], "answer"), live.hidden_states([second, again], "answer")
    )
    with pytest.raises(KeyError):
        reference.hidden_states([second], "all")
    with pytest.raises(KeyError):
        reference.hidden_states([TokenizedSequence(first.id, first.prompt, [5])], "answer")


class CountingFile(BytesIO):
    written = 0

    def write(self, data):
        self.written += memoryview(data).nbytes
        return super().write(data)


def test_forwards_stay_in_the_token_budget_and_each_is_written_before_the_next(monkeypatch):
    model, file, forwards, original = built("tied", torch.float32), CountingFile(), [], module.hidden_states

    def watched(model, batch):
        forwards.append((batch.input_ids.shape[1], file.written))
        return original(model, batch)

    monkeypatch.setattr(module, "hidden_states", watched)
    requested = module._merge_requests((item, "answer") for item in ITEMS)
    module._write_states(file, model, requested, 20, MADE_BY)
    tokens, written = zip(*forwards, strict=True)
    assert len(tokens) > 2
    assert max(tokens) <= 20
    assert sum(tokens) == sum(map(len, ITEMS))
    assert all(more > less for less, more in pairwise(written))


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_states_of_a_layer_are_those_of_the_live_model_beside_the_last_ones(tmp_path, positions):
    model = built("untied", torch.float32)
    reads = LayerPositions(0, positions)
    requests = [(item, each) for item in ITEMS for each in (reads, "answer")]
    stored = CachedHiddenStates.compute(
        model, requests, tmp_path / "states.safetensors", max_tokens_per_forward=20, made_by=MADE_BY
    )
    for each in (reads, "answer"):
        live = LiveReference(model).hidden_states(ITEMS, each)
        torch.testing.assert_close(stored.hidden_states(ITEMS, each), live)
    tokens = sum(len(item) if positions == "all" else item.answer_length for item in ITEMS)
    assert len(stored.hidden_states(ITEMS, reads)) == tokens
    assert stored_bytes(model, requests) == (tokens + sum(item.answer_length for item in ITEMS)) * 32 * 4


def test_a_file_is_only_loaded_for_what_it_was_made_by(tmp_path):
    model = built("softcap, tied", torch.float32)
    path = tmp_path / "states.safetensors"
    reference = cached(model, tmp_path)
    again = CachedHiddenStates.load(path, model, made_by=MADE_BY)
    assert again is not None
    states = again.hidden_states(ITEMS, "answer")
    assert torch.equal(states, reference.hidden_states(ITEMS, "answer"))
    assert torch.equal(again.logits(states), reference.logits(states))
    assert CachedHiddenStates.load(path, model, made_by=MADE_BY | {"precision": "bf16"}) is None


def test_a_damaged_file_is_named_with_a_remedy(tmp_path):
    model, path = built("tied", torch.float32), tmp_path / "states.safetensors"
    cached(model, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EffaceError) as error:
        CachedHiddenStates.load(path, model, made_by=MADE_BY)
    assert all(words in str(error.value) for words in (str(path), "damaged", "remove it", "--resume"))


def test_a_sequence_that_does_not_fit_into_memory_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    model, longest = built("tied", torch.float32), max(ITEMS, key=len)
    monkeypatch.setattr(module, "hidden_states", full)
    with pytest.raises(EffaceError) as error:
        cached(model, tmp_path, sequences=[longest])
    named = (f"{len(longest)} tokens", f"item {longest.id!r}", "train.max_tokens_per_forward", "device=cpu")
    assert all(words in str(error.value) for words in named)


def test_a_failed_computation_leaves_no_file(tmp_path, monkeypatch):
    model = built("tied", torch.float32)
    monkeypatch.setattr(module, "pack", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cached(model.train(), tmp_path)
    assert not list(tmp_path.iterdir())
    assert model.training


def test_tensors_in_the_file_are_aligned(tmp_path):
    cached(built("tied", torch.float32), tmp_path)
    (path,) = tmp_path.iterdir()
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0


@pytest.mark.parametrize("budget", [1000, 1])
def test_states_of_padded_rows(tmp_path, budget):
    """They include the padding, and are stored beside those of the same sequences without it."""
    model = built("untied", torch.float64)
    rows = [pad(item, 24, pad_token=0, end_token=item.answer[-1]) for item in ITEMS]
    requests = [(row, positions) for row in rows for positions in ("row", "answer", "all")]
    path = tmp_path / "states.safetensors"
    cached = CachedHiddenStates.compute(model, requests, path, max_tokens_per_forward=budget, made_by=MADE_BY)
    live = LiveReference(model)
    for positions in ("row", "answer", "all"):
        expected = live.hidden_states(rows[::-1], positions)
        torch.testing.assert_close(cached.hidden_states(rows[::-1], positions), expected)
    assert len(cached.hidden_states(rows, "row")) == 24 * len(rows)
    stored = sum(24 + len(row) - 1 for row in rows) * 8 * DENSE["hidden_size"]
    assert stored_bytes(model, requests) == stored
    with pytest.raises(KeyError):
        cached.hidden_states([pad(ITEMS[0], 25, pad_token=0, end_token=0)], "row")
