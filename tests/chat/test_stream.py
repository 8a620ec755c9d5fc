from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, RwkvConfig

from efface.chat import stream
from efface.chat.stream import TokenStep, stream_answer
from efface.errors import EffaceError
from efface.evaluation.generate import generate
from efface.schema import Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from support.templates import byte_level

QUESTIONS = [Prompt("Who wrote it?"), Prompt("Where was the author of the long book about rivers born?"), Prompt("Is?")]
NEW = 24


def steps_of(model: Any, formatter: PromptFormatter, question: Prompt, **settings: Any) -> list[TokenStep]:
    [prompt] = formatter.encode_prompts([question])
    return [*stream_answer(model, formatter, prompt, **{"max_new_tokens": NEW, **settings})]


def answer(steps: list[TokenStep]) -> str:
    """The complete answer; only the last step has it."""
    assert [step.answer for step in steps[:-1]] == [None] * (len(steps) - 1)
    complete = steps[-1].answer
    assert complete is not None
    return complete


@pytest.mark.parametrize("stops", [False, True])
def test_greedy_text_is_that_of_the_evaluation(model, formatter, stops):
    if stops:
        formatter.tokenizer.eos_token = formatter.tokenizer.convert_ids_to_tokens(71)  # which the model generates
        formatter = PromptFormatter(formatter.tokenizer, TextConfig(format="plain"))
    expected = generate(model, formatter, QUESTIONS, max_new_tokens=NEW, max_cache_tokens=10_000)
    found = [steps_of(model, formatter, question) for question in QUESTIONS]
    assert [answer(steps) for steps in found] == [each.text for each in expected]
    assert len({each.text for each in expected}) > 1
    ended = [len(each.token_ids) < NEW for each in expected]
    assert any(ended) == stops
    assert [len(steps) for steps in found] == [
        len(each.token_ids) + end for each, end in zip(expected, ended, strict=True)
    ]


def test_a_model_without_kv_cache_reads_everything_again(formatter):
    sizes = {"vocab_size": 512, "hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(RwkvConfig(**sizes)).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    [expected] = generate(model, formatter, QUESTIONS[:1], max_new_tokens=6, max_cache_tokens=10_000)
    assert answer(steps_of(model, formatter, QUESTIONS[0], max_new_tokens=6)) == expected.text


def test_alternatives_are_the_most_likely_tokens(model, formatter):
    [prompt] = formatter.encode_prompts(QUESTIONS[:1])
    first = next(stream_answer(model, formatter, prompt, max_new_tokens=2))
    with torch.no_grad():
        logprobs = model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
    values, ids = logprobs.exp().sort(descending=True)
    assert [each.probability for each in first.likely] == pytest.approx(values[:10].tolist(), rel=1e-4)
    assert [each.token for each in first.likely] == [formatter.tokenizer.decode([id_]) for id_ in ids[:10].tolist()]
    assert first.chosen == first.likely[0]
    assert first.entropy == pytest.approx(float(-(logprobs.exp() * logprobs).sum()), rel=1e-4)


def test_sampling_depends_on_the_seed_and_reports_unscaled_probabilities(model, formatter):
    sampled = [steps_of(model, formatter, QUESTIONS[0], temperature=1.5, seed=seed) for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1]
    assert answer(sampled[0]) != answer(sampled[2])
    greedy = steps_of(model, formatter, QUESTIONS[0])
    assert answer(steps_of(model, formatter, QUESTIONS[0], temperature=0.001)) == answer(greedy)
    assert (sampled[0][0].likely, sampled[0][0].entropy) == (greedy[0].likely, greedy[0].entropy)


class ScriptedReader:
    """Replaces the reader of a model by given logits."""

    def __init__(self, logits: list[torch.Tensor]) -> None:
        self.ids: list[int] = []
        self._logits = iter(logits)

    def next_logits(self) -> torch.Tensor:
        return next(self._logits)


def script(monkeypatch: pytest.MonkeyPatch, logits: list[torch.Tensor]) -> None:
    monkeypatch.setattr(stream, "_IncrementalReader", lambda *_: ScriptedReader(logits))


def test_characters_are_complete(monkeypatch):
    formatter = PromptFormatter(byte_level(), TextConfig(format="plain"))
    text = "é 日本 🙂!"
    ids = formatter.tokenizer(text).input_ids
    assert len(ids) == len(text.encode())
    script(monkeypatch, list(torch.eye(len(formatter.tokenizer))[[*ids, formatter.stop_ids[0]]]))
    steps = [*stream_answer(None, formatter, [0], max_new_tokens=50)]
    assert [step.text for step in steps if step.text] == list(text)
    assert answer(steps) == text
    assert steps[-1].chosen.token == "</s>"


def test_an_incomplete_character_at_the_end_is_shown_as_such(monkeypatch):
    formatter = PromptFormatter(byte_level(), TextConfig(format="plain"))
    ids = formatter.tokenizer("aé").input_ids[:2]
    script(monkeypatch, list(torch.eye(len(formatter.tokenizer))[ids]))
    steps = [*stream_answer(None, formatter, [0], max_new_tokens=2)]
    assert ([step.text for step in steps], answer(steps)) == (["a", "\ufffd"], "a\ufffd")


def test_entropy_of_a_uniform_distribution_is_the_logarithm_of_the_vocabulary(monkeypatch):
    formatter = PromptFormatter(byte_level(), TextConfig(format="plain"))
    size = len(formatter.tokenizer)
    script(monkeypatch, [torch.zeros(size)])
    [step] = stream_answer(None, formatter, [0], max_new_tokens=1)
    assert step.entropy == pytest.approx(math.log(size), rel=1e-6)
    script(monkeypatch, [torch.tensor([0.0] + [-math.inf] * (size - 1))])
    [step] = stream_answer(None, formatter, [0], max_new_tokens=1)
    assert step.entropy == 0


def test_logits_that_are_not_finite_are_refused(monkeypatch):
    formatter = PromptFormatter(byte_level(), TextConfig(format="plain"))
    script(monkeypatch, [torch.full((len(formatter.tokenizer),), math.nan)])
    with pytest.raises(EffaceError, match=r"not finite.*train\.lr"):
        next(stream_answer(None, formatter, [0], max_new_tokens=1))
