from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, RwkvConfig

from efface.errors import EffaceError
from efface.evaluation import generate as generate_module
from efface.evaluation import greedy_decoder as decode_module
from efface.evaluation.generate import Generation, generate, length_batches
from efface.evaluation.kv_cache import cache_elements_per_token
from efface.schema import Prompt
from efface.text.formatter import PromptFormatter, TextConfig

QUESTIONS = [
    Prompt("Who wrote it?"),
    Prompt("Where was the author of the long book about rivers born?"),
    Prompt("Is it?"),
    Prompt("Name the city in which the painter lived when she was young."),
    Prompt("When?"),
]
NEW = 24


def one_by_one(model: Any, formatter: PromptFormatter, question: Prompt, max_new_tokens: int) -> list[int]:
    """Greedy decoding as it is defined: no cache, no batch, no padding."""
    (prompt,) = formatter.encode_prompts([question])
    ids: list[int] = []
    with torch.no_grad():
        while len(ids) < max_new_tokens:
            best = int(model(torch.tensor([prompt + ids])).logits[0, -1].argmax())
            if best in formatter.stop_ids:
                break
            ids.append(best)
    return ids


def stopping_at(formatter: PromptFormatter, token_id: int) -> PromptFormatter:
    tokenizer = formatter.tokenizer
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(token_id)
    return PromptFormatter(tokenizer, TextConfig(format="plain"))


def run(model: Any, formatter: PromptFormatter, **settings: Any) -> list[Generation]:
    return generate(model, formatter, QUESTIONS, **{"max_new_tokens": NEW, "max_cache_tokens": 10_000, **settings})


@pytest.mark.parametrize("max_cache_tokens", [1, 80, 10_000], ids=["rows alone", "two at a time", "all at once"])
def test_batches_say_what_single_prompts_say(model, formatter, max_cache_tokens):
    expected = [one_by_one(model, formatter, question, NEW) for question in QUESTIONS]
    assert len({tuple(ids) for ids in expected}) > 1
    outputs = run(model, formatter, max_cache_tokens=max_cache_tokens)
    assert [output.token_ids for output in outputs] == expected
    assert [output.text for output in outputs] == [formatter.tokenizer.decode(ids) for ids in expected]


def test_rows_end_at_their_own_stop_token(model, formatter):
    letter = stopping_at(formatter, 71)
    expected = [one_by_one(model, letter, question, NEW) for question in QUESTIONS]
    assert len({len(ids) for ids in expected}) > 2
    assert [output.token_ids for output in run(model, letter)] == expected


def test_output_may_be_empty_and_costs_one_forward(model, formatter):
    first = one_by_one(model, formatter, QUESTIONS[0], 1)[0]
    forwards = []
    model.register_forward_hook(lambda *_: forwards.append(1))
    formatter = stopping_at(formatter, first)
    assert generate(model, formatter, QUESTIONS[:1], max_new_tokens=NEW, max_cache_tokens=100) == [Generation([], "")]
    assert len(forwards) == 1


def test_padding_may_be_missing_or_stand_in_the_prompt(model, formatter):
    expected = run(model, formatter)
    formatter.tokenizer.pad_token = None
    assert run(model, formatter) == expected
    # the id that opens every prompt is also the padding: a mask made from ids would hide it
    formatter.tokenizer.pad_token_id = formatter.encode_prompts(QUESTIONS)[0][0]
    assert run(model, formatter) == expected


def test_own_generation_settings_have_no_say_and_come_back(model, formatter, caplog):
    expected = run(model, formatter)
    own = model.generation_config
    own.update(do_sample=True, temperature=0.6, top_p=0.5, top_k=3, repetition_penalty=5.0, no_repeat_ngram_size=2)
    own.update(suppress_tokens=expected[0].token_ids, min_new_tokens=20, max_length=7, num_beams=3)
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        assert run(model, formatter) == expected
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert caplog.records == []
    assert model.generation_config is own
    assert own.temperature == 0.6


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_meanwhile_and_the_mode_comes_back(model, formatter, training):
    expected = run(model, formatter)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.9
    model.train(training)
    assert run(model, formatter) == expected
    assert model.training is training


def test_collapsed_model_stays_within_its_budget(model, formatter):
    model.lm_head.weight.data.zero_()  # all logits are equal: the first token, for ever
    formatter = stopping_at(formatter, 5)
    assert all(output.token_ids == [0] * 40 for output in run(model, formatter, max_new_tokens=40))


def test_batches_keep_to_the_token_budget(model, formatter, monkeypatch):
    shapes = []
    original = decode_module.greedy_decode

    def spy(model: Any, prompts: list[list[int]], **settings: Any) -> Any:
        shapes.append((len(prompts), max(map(len, prompts))))
        return original(model, prompts, **settings)

    monkeypatch.setattr(decode_module, "greedy_decode", spy)
    done: list[int] = []
    run(model, formatter, max_cache_tokens=100, progress=done.append)
    assert len(shapes) > 1
    assert all(rows == 1 or rows * (width + NEW) <= 100 for rows, width in shapes)
    assert [width for _, width in shapes] == sorted((width for _, width in shapes), reverse=True)
    assert (done[0], done[-1], len(done)) == (0, len(QUESTIONS), len(shapes) + 1)


def test_batches_follow_the_free_memory_unless_told_how_large(model, formatter, monkeypatch):
    rows: list[int] = []
    original = decode_module.greedy_decode

    def spy(model: Any, prompts: list[list[int]], **settings: Any) -> Any:
        rows.append(len(prompts))
        return original(model, prompts, **settings)

    monkeypatch.setattr(decode_module, "greedy_decode", spy)
    expected = run(model, formatter)
    longest = max(map(len, formatter.encode_prompts(QUESTIONS)))
    two_rows = 1 << (2 * (longest + NEW)).bit_length()
    free = two_rows * cache_elements_per_token(model.config) * 4 * 2
    monkeypatch.setattr(generate_module, "free_memory", lambda device: free)
    assert run(model, formatter, max_cache_tokens=None) == expected
    assert rows[0] == 5
    assert 1 < rows[1] < 5
    assert sum(rows) == 10


def out_of_memory_above(limit: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the model stand for one on a GPU that holds so many rows; gives how many were asked each time."""
    rows: list[int] = []
    original = decode_module.greedy_decode

    def fails(model: Any, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
        rows.append(len(prompts))
        if len(prompts) > limit:
            raise torch.OutOfMemoryError
        return original(model, prompts, **settings)

    monkeypatch.setattr(decode_module, "greedy_decode", fails)
    return rows


def test_the_memory_of_the_gpu_changes_nothing(model, formatter, monkeypatch):
    expected = run(model, formatter)
    rows = out_of_memory_above(2, monkeypatch)
    done: list[int] = []
    assert run(model, formatter, progress=done.append) == expected
    assert rows == [5, 3, 2, 2, 1]
    assert done == [0, 5]


def test_a_question_that_does_not_fit_into_memory_is_said(model, formatter, monkeypatch):
    rows = out_of_memory_above(0, monkeypatch)
    sentence = rf"memory does not hold evaluate.max_new_tokens={NEW} behind .* evaluate.max_cache_tokens is; lower evaluate.max_new_t"
    with pytest.raises(EffaceError, match=sentence):
        run(model, formatter)
    assert rows == [5, 3, 2, 1]


def test_output_that_does_not_fit_is_refused(model, formatter):
    longest = max(map(len, formatter.encode_prompts(QUESTIONS)))
    room = 512 - longest
    with pytest.raises(
        EffaceError, match=rf"{longest} tokens.*512 positions; set evaluate.max_new_tokens to {room} or"
    ):
        run(model, formatter, max_new_tokens=room + 1)


def test_no_question_has_no_answer(model, formatter):
    assert generate(model, formatter, [], max_new_tokens=3, max_cache_tokens=10) == []


def test_adapter_speaks(model, formatter):
    peft = pytest.importorskip("peft")
    plain = run(model, formatter)
    torch.manual_seed(0)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, init_lora_weights=False))
    own = adapted.get_base_model().generation_config
    outputs = run(adapted, formatter)
    assert adapted.get_base_model().generation_config is own
    assert outputs != plain
    assert outputs == run(adapted.merge_and_unload(), formatter)


def test_a_prompt_at_a_time_where_padding_and_other_rows_are_read(formatter):
    """RWKV reads every token that it is given, whatever the attention mask says, and the states of other rows."""
    sizes = {"vocab_size": 512, "hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(RwkvConfig(**sizes)).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    expected = [one_by_one(model, formatter, question, 6) for question in QUESTIONS]
    assert len({tuple(ids) for ids in expected}) > 1
    assert [output.token_ids for output in run(model, formatter, max_new_tokens=6)] == expected


def test_unpadded_batches_are_of_one_length():
    lengths = [7, 3, 7, 5, 3, 7]
    assert list(length_batches(lengths, 3, 1000, padded=False)) == [[0, 2, 5], [3], [1, 4]]
    assert list(length_batches(lengths, 3, 20, padded=False)) == [[0, 2], [5], [3], [1, 4]]
    assert list(length_batches(lengths, 3, 1000, padded=True)) == [[0, 2, 5, 3, 1, 4]]
