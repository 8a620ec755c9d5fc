"""Answer log-probs: in the order given, whatever the budget, the mode or the adapter."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.packing import logprobs, support
from efface.packing.logprobs import answer_logprobs
from efface.text.formatter import TokenizedSequence


@pytest.mark.parametrize("max_tokens_per_forward", [1, 30, 10_000])
def test_the_budget_changes_nothing(llama, uneven, related, one_by_one, max_tokens_per_forward):
    with torch.no_grad():
        alone = one_by_one(llama, uneven + related)
    for ours, own in zip(
        answer_logprobs(llama, uneven + related, max_tokens_per_forward=max_tokens_per_forward), alone, strict=True
    ):
        assert ours == pytest.approx(own.tolist(), abs=1e-5)


ANSWERS = [
    TokenizedSequence(f"{question}/{answer}", [question] * 10, [5, 6, 10 + answer, 4, 4])
    for answer in range(4)
    for question in (20, 21, 22)
]
"""Four answers to each of three questions, which take 24 tokens of which 14 are predicted, or 60 if read apart."""


@pytest.mark.parametrize(
    ("why", "forwards", "heads"),
    [(None, [48, 24], [28, 14]), ("its layers mix tokens", [45, 45, 45, 45], [11, 13, 13, 11])],
    ids=["packed", "in rows"],
)
def test_answers_share_their_question_and_the_budget_counts_it_once(llama, monkeypatch, why, forwards, heads):
    monkeypatch.setattr(logprobs, "packing_unsupported_reason", lambda model: why)
    monkeypatch.setattr(support, "packing_unsupported_reason", lambda model: why)
    read, scored = [], []
    llama.model.register_forward_pre_hook(
        lambda _, __, inputs: read.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    llama.lm_head.register_forward_pre_hook(lambda _, inputs: scored.append(inputs[0].shape[0]))
    answer_logprobs(llama, ANSWERS, max_tokens_per_forward=48)
    assert read == forwards
    assert scored == heads


@pytest.fixture
def holds(monkeypatch):
    """Let the model stand for one on a GPU that holds so many sequences at once."""

    def at_most(limit):
        real = logprobs.hidden_states

        def fails(model, batch):
            if len(batch.sequences) > limit:
                raise torch.OutOfMemoryError
            return real(model, batch)

        monkeypatch.setattr(logprobs, "hidden_states", fails)

    return at_most


def test_the_memory_of_the_gpu_changes_nothing(llama, uneven, holds):
    expected = answer_logprobs(llama, uneven, max_tokens_per_forward=10_000)
    holds(2)
    for ours, whole in zip(answer_logprobs(llama, uneven, max_tokens_per_forward=10_000), expected, strict=True):
        assert ours == pytest.approx(whole, abs=1e-5)


def test_a_sequence_that_does_not_fit_is_named(llama, uneven, holds):
    holds(0)
    llama.train()
    sentence = "memory does not hold the 40 tokens of item '3' alone, whatever train.max_tokens_per_forward or evaluate.max_tokens_per_forward"
    with pytest.raises(EffaceError, match=sentence):
        answer_logprobs(llama, uneven, max_tokens_per_forward=10_000)
    assert llama.training


def test_only_the_answer_is_scored(llama):
    ids = [5, 6, 7, 8, 9]
    (whole,) = answer_logprobs(llama, [TokenizedSequence("a", ids[:1], ids[1:])], max_tokens_per_forward=100)
    (tail,) = answer_logprobs(llama, [TokenizedSequence("a", ids[:3], ids[3:])], max_tokens_per_forward=100)
    assert tail == pytest.approx(whole[2:], abs=1e-5)


def test_nothing_gives_nothing(llama):
    assert answer_logprobs(llama, [], max_tokens_per_forward=100) == []


def test_dropout_is_off_meanwhile(random_model, uneven):
    from transformers import GPT2Config

    model = random_model(GPT2Config(vocab_size=97, n_embd=32, n_layer=1, n_head=4, n_positions=64))
    quiet = answer_logprobs(model, uneven, max_tokens_per_forward=1000)
    model.train()
    assert answer_logprobs(model, uneven, max_tokens_per_forward=1000) == quiet
    assert model.training


def test_an_adapter_stays_in_place(llama, uneven, one_by_one):
    peft = pytest.importorskip("peft")
    base = answer_logprobs(llama, uneven, max_tokens_per_forward=1000)
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(llama, config).eval()
    ours = answer_logprobs(adapted, uneven, max_tokens_per_forward=1000)
    with torch.no_grad():
        alone = one_by_one(adapted, uneven)
    for packed, own, before in zip(ours, alone, base, strict=True):
        assert packed == pytest.approx(own.tolist(), abs=1e-5)
        assert packed != pytest.approx(before, abs=1e-3)
    with adapted.disable_adapter():
        assert answer_logprobs(adapted, uneven, max_tokens_per_forward=1000) == base
