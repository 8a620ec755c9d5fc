"""Terms of a packed forward pass: only what they read is computed, and chunks change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from efface.objectives import compute
from efface.objectives.config import KLConfig, ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference, divisors
from efface.packing import forward
from efface.packing.attention import packed_attention_enabled
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.text.sequence import TokenizedSequence

GOLDEN = Path(__file__).parents[1] / "golden"
LENGTHS = {"forget": (7, 21), "forget_idk": (11, 5), "retain": (30, 4), "retain_idk": (9, 9), "forget_mismatch": (6, 6)}


def encoded(view, index, length):
    generator = torch.Generator().manual_seed(length + index)
    ids = torch.randint(2, 512, (length,), generator=generator).tolist()
    return TokenizedSequence(f"{view}/{index}", ids[:3], ids[3:])


VIEWS = {view: [encoded(view, i, n) for i, n in enumerate(lengths)] for view, lengths in LENGTHS.items()}


@pytest.fixture
def model():
    return AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64)


@pytest.fixture(scope="module")
def reference():
    return AutoModelForCausalLM.from_pretrained(GOLDEN / "reference", dtype=torch.float64)


def evaluated(model, method, reference=None, *, views=VIEWS, **settings):
    bound = objective(method, ObjectiveConfig(**settings))
    divisors_by_term = [divisors(term, views) for term in bound.terms]
    with packed_attention_enabled(forward.unwrap_peft(model)):
        return compute.term_values(model, bound.terms, views, divisors_by_term, reference or Reference())


def related(view, index, answer):
    """All questions start with the same three tokens, as in a chat; a question is the same in all views."""
    side = 5 if view.startswith("forget") else 6
    return TokenizedSequence(f"{view}/{index}", [2, 3, 4, side, 10 + index, 20], answer)


RELATED = {
    "forget": [related("forget", 0, [30, 31, 32, 33]), related("forget", 1, [30, 34])],
    "forget_idk": [related("forget_idk", 0, [40, 41, 1]), related("forget_idk", 1, [42, 1])],
    "retain": [related("retain", 0, [50, 51, 52]), related("retain", 1, [53, 54, 55, 56, 57])],
    "retain_idk": [related("retain_idk", 0, [50, 41, 1]), related("retain_idk", 1, [53, 54])],
    "forget_mismatch": [related("forget_mismatch", 0, [30, 34]), related("forget_mismatch", 1, [30, 31, 32, 33])],
}


@pytest.fixture
def nothing_shared(monkeypatch):
    """From its call on, pack every token of every sequence separately."""

    def add_separately(self, ids):
        start = len(self.nodes)
        self.nodes.update(((-2 - node, token), node) for node, token in enumerate(ids, start))
        return list(range(start, len(self.nodes)))

    return lambda: monkeypatch.setattr("efface.packing.packed_batch.PrefixTrie.add", add_separately)


@pytest.mark.parametrize(
    ("method", "views", "tokens", "logits"),
    [
        ("ga+gd", VIEWS, 28 + 34, 22 + 28),  # answers alone
        ("idk+ap", VIEWS, 16 + 34 + 18, 10 + 28 + 12),
        ("me+gd", VIEWS, 28 + 34, 26 + 28),  # every token of forget but the first two
        # the four questions take 3 + 5 + 5 tokens; of five tokens of refusals, three are those of answers
        ("idk+ap", RELATED, 13 + 5 + 8 + 2, 5 + 8 + 2),
        ("me+gd", RELATED, 13 + 6 + 8, 7 + 6 + 8),  # every distinct token of forget but the first
    ],
)
def test_one_forward_of_what_is_needed_and_the_head_where_it_is_needed(
    model, monkeypatch, method, views, tokens, logits
):
    forwarded, scored = [], []
    original_states, original_head = compute.hidden_states, forward.compute_logits

    def counting_states(model, batch):
        forwarded.append(batch.input_ids.shape[1])
        return original_states(model, batch)

    def counting_head(model, hidden):
        scored.append(hidden.shape[0])
        return original_head(model, hidden)

    monkeypatch.setattr(compute, "hidden_states", counting_states)
    monkeypatch.setattr(forward, "compute_logits", counting_head)
    evaluated(model, method, views=views)
    assert forwarded == [tokens]
    assert sum(scored) == logits
    assert len(scored) == (2 if method.startswith("me") else 1)  # the views of all other terms together


def values_and_gradients(model, method, reference, **settings):
    model.zero_grad()
    values = evaluated(model, method, reference, **settings)
    torch.stack(values).sum().backward()
    return values, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("idk+ap", {}),
        ("dpo+gd", {}),
        ("llmu", {}),
        ("me+kl", {"kl": KLConfig(positions="all")}),
        ("me+gd", {"me": {"average": "sequences"}}),
    ],
)
def test_shared_prefixes_change_nothing(model, reference, nothing_shared, method, settings):
    cached = CachedLogprobs.compute(
        reference, [*RELATED["forget"], *RELATED["forget_idk"]], max_tokens_per_forward=1000
    )
    full_reference = Reference(cached, LiveReference(reference))
    values, gradients = values_and_gradients(model, method, full_reference, views=RELATED, **settings)
    nothing_shared()
    separate, separate_gradients = values_and_gradients(model, method, full_reference, views=RELATED, **settings)
    torch.testing.assert_close(torch.stack(values), torch.stack(separate), atol=0, rtol=1e-10)
    for name, gradient in separate_gradients.items():  # norms are computed in float32
        torch.testing.assert_close(gradients[name], gradient, atol=5e-6 * float(gradient.abs().max()), rtol=0)


@pytest.mark.parametrize(
    ("method", "settings"), [("me+kl", {}), ("me+kl", {"kl": KLConfig(positions="all")}), ("idk+ap", {}), ("llmu", {})]
)
def test_chunks_of_logits_change_nothing(model, reference, monkeypatch, method, settings):
    live = Reference(distribution=LiveReference(reference))
    values, gradients = values_and_gradients(model, method, live, **settings)
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 5 * 512)
    chunked, chunked_gradients = values_and_gradients(model, method, live, **settings)
    torch.testing.assert_close(torch.stack(chunked), torch.stack(values))
    for name, gradient in gradients.items():
        torch.testing.assert_close(chunked_gradients[name], gradient)


def test_chunks_recomputed_with_a_reference_that_disables_the_adapter(model, monkeypatch):
    """The backward pass computes the reference again: the adapter must be active for everything else."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, config).train()
    live = Reference(distribution=LiveReference(adapted, adapter_off=True))
    values, gradients = values_and_gradients(adapted, "ga+kl", live)
    assert values[1] > 1e-6
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 5 * 512)
    chunked, chunked_gradients = values_and_gradients(adapted, "ga+kl", live)
    torch.testing.assert_close(torch.stack(chunked), torch.stack(values))
    assert gradients.keys() == chunked_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(chunked_gradients[name], gradient)
    assert adapted.training
