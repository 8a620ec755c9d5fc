"""Terms on a packed forward: nothing is computed that no term reads, and pieces give the same as the whole."""

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
from efface.text.formatter import TokenizedSequence

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
    by = [divisors(term, views) for term in bound.terms]
    with packed_attention_enabled(forward.unwrap_peft(model)):
        return compute.term_values(model, bound.terms, views, by, reference or Reference())


def related(view, index, answer):
    """All questions begin with the same three tokens, as those of a chat do; a question is the same in all views."""
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
    """Pack every token of every sequence anew, from when it is called on."""

    def anew(self, ids):
        start = len(self.nodes)
        self.nodes.update(((-2 - at, token), at) for at, token in enumerate(ids, start))
        return list(range(start, len(self.nodes)))

    return lambda: monkeypatch.setattr("efface.packing.packed_batch.PrefixTrie.add", anew)


@pytest.mark.parametrize(
    ("method", "views", "tokens", "logits"),
    [
        ("ga+gd", VIEWS, 28 + 34, 22 + 28),  # answers alone
        ("idk+ap", VIEWS, 16 + 34 + 18, 10 + 28 + 12),
        ("me+gd", VIEWS, 28 + 34, 26 + 28),  # every token of forget but the first two
        # the four questions take 3 + 5 + 5 tokens; of five tokens of refusals, three are those of answers
        ("idk+ap", RELATED, 13 + 5 + 8 + 2, 5 + 8 + 5),
        ("me+gd", RELATED, 13 + 6 + 8, 7 + 6 + 8),  # every distinct token of forget but the first
    ],
)
def test_one_forward_of_what_is_needed_and_the_head_where_it_is_read(model, monkeypatch, method, views, tokens, logits):
    forwarded, rows = [], []
    own_states, original_head = compute.hidden_states, forward.compute_logits

    def counting_states(model, batch):
        forwarded.append(batch.input_ids.shape[1])
        return own_states(model, batch)

    def counting_head(model, hidden):
        rows.append(hidden.shape[0])
        return original_head(model, hidden)

    monkeypatch.setattr(compute, "hidden_states", counting_states)
    monkeypatch.setattr(compute, "compute_logits", counting_head)
    monkeypatch.setattr(forward, "compute_logits", counting_head)
    evaluated(model, method, views=views)
    assert forwarded == [tokens]
    assert sum(rows) == logits


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
def test_what_sequences_share_changes_nothing(model, reference, nothing_shared, method, settings):
    before = CachedLogprobs.compute(
        reference, [*RELATED["forget"], *RELATED["forget_idk"]], max_tokens_per_forward=1000
    )
    asks = Reference(before, LiveReference(reference))
    values, gradients = values_and_gradients(model, method, asks, views=RELATED, **settings)
    nothing_shared()
    apart, apart_gradients = values_and_gradients(model, method, asks, views=RELATED, **settings)
    torch.testing.assert_close(torch.stack(values), torch.stack(apart), atol=0, rtol=1e-10)
    for name, gradient in apart_gradients.items():  # norms are computed in float32
        torch.testing.assert_close(gradients[name], gradient, atol=5e-6 * float(gradient.abs().max()), rtol=0)


@pytest.mark.parametrize(
    ("method", "settings"), [("me+kl", {}), ("me+kl", {"kl": KLConfig(positions="all")}), ("idk+ap", {}), ("llmu", {})]
)
def test_logits_in_pieces_as_in_one(model, reference, monkeypatch, method, settings):
    live = Reference(distribution=LiveReference(reference))
    values, gradients = values_and_gradients(model, method, live, **settings)
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 5 * 512)
    pieces, piece_gradients = values_and_gradients(model, method, live, **settings)
    torch.testing.assert_close(torch.stack(pieces), torch.stack(values))
    for name, gradient in gradients.items():
        torch.testing.assert_close(piece_gradients[name], gradient)


def test_pieces_recomputed_while_the_reference_switches_the_adapter_off(model, monkeypatch):
    """The backward pass asks the reference again: the adapter must be on again for everything else."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, config).train()
    live = Reference(distribution=LiveReference(adapted, adapter_off=True))
    values, gradients = values_and_gradients(adapted, "ga+kl", live)
    assert values[1] > 1e-6
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 5 * 512)
    pieces, piece_gradients = values_and_gradients(adapted, "ga+kl", live)
    torch.testing.assert_close(torch.stack(pieces), torch.stack(values))
    assert gradients.keys() == piece_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(piece_gradients[name], gradient)
    assert adapted.training
