"""Cached log-probabilities are those of the model in evaluation mode, found again by content alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from efface.errors import EffaceError
from efface.reference.logprobs import CachedLogprobs
from efface.text.formatter import TokenizedSequence

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


def test_found_by_content_and_not_by_name(model):
    """The border counts: the same ids with another prompt are another sequence."""
    cached = CachedLogprobs.compute(model, ITEMS[:1], max_tokens_per_forward=100)
    renamed, moved = TokenizedSequence("z", [5, 6, 7], [8, 9]), TokenizedSequence("a", [5, 6], [7, 8, 9])
    assert cached([renamed]) == cached(ITEMS[:1])
    with pytest.raises(KeyError):
        cached([moved])


def test_each_content_is_computed_once(model, monkeypatch):
    counted = []
    from efface.reference import logprobs as module

    real = module.answer_logprobs
    monkeypatch.setattr(
        module, "answer_logprobs", lambda m, items, **kw: (counted.append(len(items)), real(m, items, **kw))[1]
    )
    CachedLogprobs.compute(
        model, [*ITEMS, *ITEMS, TokenizedSequence("z", [40], [41, 42, 43, 1])], max_tokens_per_forward=100
    )
    assert counted == [3]


def test_a_model_in_training_is_asked_without_its_dropout(model):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64),
        LoraConfig(r=2, lora_dropout=0.9, target_modules="all-linear", init_lora_weights=False),
    )
    expected = CachedLogprobs.compute(adapted.eval(), ITEMS, max_tokens_per_forward=100)(ITEMS)
    found = CachedLogprobs.compute(adapted.train(), ITEMS, max_tokens_per_forward=100)(ITEMS)
    assert found == expected
    assert adapted.training


def test_training_later_does_not_change_what_is_cached():
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64)
    cached = CachedLogprobs.compute(model, ITEMS, max_tokens_per_forward=100)
    before = cached(ITEMS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert cached(ITEMS) == before
    assert all(isinstance(value, float) for value in before)


def test_saved_to_the_last_digit_and_for_one_model_only(model, tmp_path):
    path = tmp_path / "deep" / "reference.json"
    cached = CachedLogprobs.compute(model, ITEMS, max_tokens_per_forward=100)
    cached.save(path, made_by={"model": "abc", "precision": "no"})
    known = CachedLogprobs.load(path, made_by={"model": "abc", "precision": "no"})
    assert known is not None
    assert known(ITEMS) == cached(ITEMS)
    assert CachedLogprobs.load(path, made_by={"model": "abd", "precision": "no"}) is None
    assert CachedLogprobs.load(path, made_by={"model": "abc", "precision": "bf16"}) is None
    path.write_text('{"made_by": {}')
    with pytest.raises(EffaceError, match=r"reference\.json is damaged; remove it and go on with --resume"):
        CachedLogprobs.load(path, made_by={})
