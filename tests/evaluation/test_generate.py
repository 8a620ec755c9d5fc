from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, RwkvConfig

from efface.errors import EffaceError
from efface.evaluation import generate as generate_module
from efface.evaluation.decoding import greedy_decoder
from efface.evaluation.decoding.kv_cache import cache_elements_per_token
from efface.evaluation.generate import Generation, generate, generate_from_ids, length_batches
from efface.schema import Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

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


@pytest.fixture(params=["greedy_decode", "transformers_decode"])
def decoder(request, monkeypatch) -> str:
    """Both decoders: ours, and the one for models that ours cannot decode."""
    if request.param == "transformers_decode":
        monkeypatch.setattr(greedy_decoder, "can_decode", lambda model: False)
        monkeypatch.setattr(greedy_decoder, "greedy_decode", None)
    else:
        monkeypatch.setattr(greedy_decoder, "transformers_decode", None)
    return request.param


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("max_cache_tokens", [1, 80, 10_000], ids=["single rows", "two rows", "all rows"])
def test_batches_give_what_single_prompts_give(model, formatter, max_cache_tokens):
    expected = [one_by_one(model, formatter, question, NEW) for question in QUESTIONS]
    assert len({tuple(ids) for ids in expected}) > 1
    outputs = run(model, formatter, max_cache_tokens=max_cache_tokens)
    assert [output.token_ids for output in outputs] == expected
    assert [output.text for output in outputs] == [formatter.tokenizer.decode(ids) for ids in expected]
    prompts = formatter.encode_prompts(QUESTIONS)
    limits = {"max_new_tokens": NEW, "max_cache_tokens": max_cache_tokens}
    assert generate_from_ids(model, formatter, prompts, **limits) == outputs


@pytest.mark.usefixtures("decoder")
def test_rows_end_at_the_first_stop_token(model, formatter):
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


@pytest.mark.usefixtures("decoder")
def test_the_pad_token_may_be_missing_or_in_the_prompt(model, formatter):
    expected = run(model, formatter)
    formatter.tokenizer.pad_token = None
    assert run(model, formatter) == expected
    # the id that opens every prompt is also the padding: a mask made from ids would hide it
    formatter.tokenizer.pad_token_id = formatter.encode_prompts(QUESTIONS)[0][0]
    assert run(model, formatter) == expected


@pytest.mark.usefixtures("decoder")
def test_generation_settings_of_the_model_are_ignored_and_restored(model, formatter, caplog):
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
def test_dropout_is_off_and_the_mode_is_restored(model, formatter, training):
    expected = run(model, formatter)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.9
    model.train(training)
    assert run(model, formatter) == expected
    assert model.training is training


@pytest.mark.usefixtures("decoder")
def test_collapsed_model_stops_at_the_limit(model, formatter):
    model.lm_head.weight.data.zero_()  # all logits are equal: always the first token
    formatter = stopping_at(formatter, 5)
    assert all(output.token_ids == [0] * 40 for output in run(model, formatter, max_new_tokens=40))


def test_batches_keep_to_max_cache_tokens(model, formatter, monkeypatch):
    shapes = []
    original = greedy_decoder.greedy_decode

    def spy(model: Any, prompts: list[list[int]], **settings: Any) -> Any:
        shapes.append((len(prompts), max(map(len, prompts))))
        return original(model, prompts, **settings)

    monkeypatch.setattr(greedy_decoder, "greedy_decode", spy)
    done: list[int] = []
    run(model, formatter, max_cache_tokens=100, progress=done.append)
    assert len(shapes) > 1
    assert all(rows == 1 or rows * (width + NEW) <= 100 for rows, width in shapes)
    assert [width for _, width in shapes] == sorted((width for _, width in shapes), reverse=True)
    assert (done[0], done[-1]) == (0, len(QUESTIONS))


@pytest.mark.usefixtures("decoder")
def test_progress_is_reported_from_the_first_token_on(model, formatter):
    model.lm_head.weight.data.zero_()  # no row ends before the limit
    done: list[float] = []
    run(model, stopping_at(formatter, 5), max_new_tokens=4, max_cache_tokens=10_000, progress=done.append)
    count = len(QUESTIONS)
    assert done == pytest.approx([0, count / 4, count / 2, 3 * count / 4, count, count])


def test_batches_follow_the_free_memory_by_default(model, formatter, monkeypatch):
    rows: list[int] = []
    original = greedy_decoder.greedy_decode

    def spy(model: Any, prompts: list[list[int]], **settings: Any) -> Any:
        rows.append(len(prompts))
        return original(model, prompts, **settings)

    monkeypatch.setattr(greedy_decoder, "greedy_decode", spy)
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
    """Simulate a GPU whose memory holds `limit` rows; returns the batch sizes that are tried."""
    rows: list[int] = []
    original = greedy_decoder.greedy_decode

    def fails(model: Any, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
        rows.append(len(prompts))
        if len(prompts) > limit:
            raise torch.OutOfMemoryError
        return original(model, prompts, **settings)

    monkeypatch.setattr(greedy_decoder, "greedy_decode", fails)
    return rows


def test_batches_that_run_out_of_memory_are_halved(model, formatter, monkeypatch):
    expected = run(model, formatter)
    rows = out_of_memory_above(2, monkeypatch)
    done: list[int] = []
    assert run(model, formatter, progress=done.append) == expected
    assert rows == [5, 3, 2, 2, 1]
    assert (done[0], done[-1]) == (0, 5)


def test_a_prompt_that_does_not_fit_into_memory_is_refused(model, formatter, monkeypatch):
    rows = out_of_memory_above(0, monkeypatch)
    with pytest.raises(EffaceError, match=rf"memory.*evaluate.max_new_tokens={NEW} .*; lower evaluate.max_new_tokens"):
        run(model, formatter)
    assert rows == [5, 3, 2, 1]


def test_outputs_must_fit_into_the_positions_of_the_model(model, formatter):
    longest = max(map(len, formatter.encode_prompts(QUESTIONS)))
    with pytest.raises(EffaceError, match=rf"{longest} tokens.*512 positions; set evaluate.max_new_tokens to "):
        run(model, formatter, max_new_tokens=512 - longest + 1)


def test_no_prompts_give_no_outputs(model, formatter):
    assert generate(model, formatter, [], max_new_tokens=3, max_cache_tokens=10) == []


def test_adapters_take_part(model, formatter):
    peft = pytest.importorskip("peft")
    plain = run(model, formatter)
    torch.manual_seed(0)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, init_lora_weights=False))
    own = adapted.get_base_model().generation_config
    outputs = run(adapted, formatter)
    assert adapted.get_base_model().generation_config is own
    assert outputs != plain
    assert outputs == run(adapted.merge_and_unload(), formatter)


def test_rwkv_is_decoded_one_prompt_at_a_time(formatter):
    """It ignores the attention mask, and transformers mixes up the states of several rows."""
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


def test_unpadded_batches_have_prompts_of_one_length():
    lengths = [7, 3, 7, 5, 3, 7]
    assert list(length_batches(lengths, 3, 1000, padded=False)) == [[0, 2, 5], [3], [1, 4]]
    assert list(length_batches(lengths, 3, 20, padded=False)) == [[0, 2], [5], [3], [1, 4]]
    assert list(length_batches(lengths, 3, 1000, padded=True)) == [[0, 2, 5, 3, 1, 4]]
