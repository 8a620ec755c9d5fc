"""Cached log-probabilities are those of the model in evaluation mode, and are looked up by content."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from efface.errors import EffaceError
from efface.reference import logprobs as module
from efface.reference.logprobs import CachedLogprobs
from efface.text.sequence import TokenizedSequence

GOLDEN = Path(__file__).parents[1] / "golden"
ITEMS = [
    TokenizedSequence("a", [5, 6, 7], [8, 9]),
    TokenizedSequence("b", [5, 6], [7, 8, 9]),
    TokenizedSequence("c", [40], [41, 42, 43, 1]),
]


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64)


@torch.no_grad()
def one_by_one(model, item):
    logits = model.eval()(torch.tensor([item.prompt + item.answer])).logits[0].log_softmax(-1)
    return sum(logits[len(item.prompt) - 1 + n, token].item() for n, token in enumerate(item.answer))


def test_sums_over_the_answers_tokens(model):
    cached = CachedLogprobs.compute(model, ITEMS, max_tokens_per_forward=6)
    assert cached(ITEMS[::-1]) == pytest.approx([one_by_one(model, item) for item in ITEMS[::-1]], rel=1e-9)


def test_sequences_are_looked_up_by_content(model):
    """The boundary counts: the same ids with another prompt are another sequence."""
    cached = CachedLogprobs.compute(model, ITEMS[:1], max_tokens_per_forward=100)
    renamed, moved = TokenizedSequence("z", [5, 6, 7], [8, 9]), TokenizedSequence("a", [5, 6], [7, 8, 9])
    assert cached([renamed]) == cached(ITEMS[:1])
    with pytest.raises(KeyError):
        cached([moved])


def test_each_content_is_computed_once(model, monkeypatch):
    computed, original = [], module.answer_logprobs

    def watched(model, items, **settings):
        computed.append(len(items))
        return original(model, items, **settings)

    monkeypatch.setattr(module, "answer_logprobs", watched)
    CachedLogprobs.compute(
        model, [*ITEMS, *ITEMS, TokenizedSequence("z", [40], [41, 42, 43, 1])], max_tokens_per_forward=100
    )
    assert computed == [3]


def test_dropout_of_a_model_in_training_is_off(model):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64),
        LoraConfig(r=2, lora_dropout=0.9, target_modules="all-linear", init_lora_weights=False),
    )
    expected = CachedLogprobs.compute(adapted.eval(), ITEMS, max_tokens_per_forward=100)(ITEMS)
    computed = CachedLogprobs.compute(adapted.train(), ITEMS, max_tokens_per_forward=100)(ITEMS)
    assert computed == expected
    assert adapted.training


def test_later_training_does_not_change_the_cache():
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64)
    cached = CachedLogprobs.compute(model, ITEMS, max_tokens_per_forward=100)
    before = cached(ITEMS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert cached(ITEMS) == before
    assert all(isinstance(value, float) for value in before)


def test_saved_numbers_are_exact_and_for_one_model_only(model, tmp_path):
    path = tmp_path / "deep" / "reference.json"
    cached = CachedLogprobs.compute(model, ITEMS, max_tokens_per_forward=100)
    cached.save(path, made_by={"model": "abc", "precision": "no"})
    loaded = CachedLogprobs.load(path, made_by={"model": "abc", "precision": "no"})
    assert loaded is not None
    assert loaded(ITEMS) == cached(ITEMS)
    assert CachedLogprobs.load(path, made_by={"model": "abd", "precision": "no"}) is None
    assert CachedLogprobs.load(path, made_by={"model": "abc", "precision": "bf16"}) is None


@pytest.mark.parametrize("content", ['{"made_by": {}', '{"made_by": {}}', "[]"], ids=["cut", "incomplete", "a list"])
def test_a_damaged_file_is_named_with_a_remedy(content, tmp_path):
    path = tmp_path / "reference.json"
    path.write_text(content)
    with pytest.raises(EffaceError) as error:
        CachedLogprobs.load(path, made_by={})
    assert all(words in str(error.value) for words in (str(path), "damaged", "remove it", "--resume"))
