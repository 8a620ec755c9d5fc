"""Open a model: loaded, hashed, checked, with a formatter that knows its limits."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from efface import distributed
from efface.chat.stream import stream_answer
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.generate import generate
from efface.models import open as module
from efface.models.folder import model_sha256
from efface.models.open import generation_stops, open_model, open_to_train, warn_about_format
from efface.schema import Prompt
from efface.text.config import TextConfig
from efface.train.config import TrainConfig
from support.messages import assert_names
from support.runs import Told

CPU = torch.device("cpu")
PLAIN = TextConfig(format="plain")


def test_an_opened_model(source):
    reporter = Told()
    opened = open_model(str(source), PLAIN, device=CPU, reporter=reporter)
    assert (opened.source, opened.sha256) == (source, model_sha256(source))
    assert opened.model.dtype == torch.float32
    assert opened.formatter.limit == 512
    assert reporter.warnings == []


def test_the_precision_decides_the_weights(source):
    config = EvaluateConfig(precision="bf16")
    opened = open_model(str(source), PLAIN, device=CPU, reporter=Told(), evaluate=config)
    assert opened.model.dtype == torch.bfloat16


def test_a_model_to_train_is_opened_in_the_dtype_of_training(source):
    config = TrainConfig(optimizer="adamw8bit")
    opened, loaded = open_to_train(str(source), PLAIN, config, device=CPU, reporter=Told())
    assert loaded.model is opened.model
    assert loaded.skeleton is None  # one process has the whole model
    assert opened.model.dtype == torch.bfloat16


def test_untrained_weights(source):
    stored, random = (
        open_model(str(source), PLAIN, device=CPU, reporter=Told(), random_seed=seed) for seed in (None, 3)
    )
    assert random.sha256 == stored.sha256
    assert not torch.equal(random.model.lm_head.weight, stored.model.lm_head.weight)


def test_a_model_that_cannot_be_packed_is_warned_of(source, monkeypatch):
    monkeypatch.setattr(module, "packing_unsupported_reason", lambda model: "odd layers")
    reporter = Told()
    open_model(str(source), PLAIN, device=CPU, reporter=reporter)
    [warning] = reporter.warnings
    assert warning.startswith("odd layers; ")
    assert "padded" in warning


def test_a_tokenizer_of_another_folder(source, tmp_path):
    shutil.copytree(source, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
    opened = open_model(str(tmp_path / "bare"), PLAIN, tokenizer=str(source), device=CPU, reporter=Told())
    assert opened.named_tokenizer is not None
    assert opened.formatter.encode_prompts([Prompt("Who?")])


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (None, 7, {7}),
        (3, None, {3}),
        ([3, 9], 7, {3, 7, 9}),
        ([3, 5000, -1], [7, 11], {3, 7, 11}),
        ([[1], "x", 4], 7, {4, 7}),
        (None, None, set()),
    ],
)
def test_generation_stops_at_every_token_of_the_model(source, generation, config, expected):
    opened = open_model(str(source), PLAIN, device=CPU, reporter=Told())
    opened.model.generation_config.eos_token_id, opened.model.config.eos_token_id = generation, config
    assert set(generation_stops(opened.model)) == expected


def test_a_list_in_the_generation_settings_stops_outputs(source, tmp_path):
    shutil.copytree(source, tmp_path / "model")
    opened = open_model(str(source), PLAIN, device=CPU, reporter=Told())

    def output(model):
        [found] = generate(model.model, model.formatter, [Prompt("Who?")], max_new_tokens=12, max_cache_tokens=1000)
        return found.token_ids

    ids = output(opened)
    settings = json.loads((source / "generation_config.json").read_text())
    settings["eos_token_id"] = [1, ids[3]]
    (tmp_path / "model" / "generation_config.json").write_text(json.dumps(settings))
    stopped = open_model(str(tmp_path / "model"), PLAIN, device=CPU, reporter=Told())
    assert output(stopped) == ids[: ids.index(ids[3])]
    [prompt] = stopped.formatter.encode_prompts([Prompt("Who?")])
    *_, last = stream_answer(stopped.model, stopped.formatter, prompt, max_new_tokens=12, temperature=0, seed=0)
    [same] = generate(stopped.model, stopped.formatter, [Prompt("Who?")], max_new_tokens=12, max_cache_tokens=1000)
    assert last.answer == same.text


@pytest.mark.parametrize(
    ("name", "text_format", "warned"),
    [
        ("locuslab/tofu_ft_llama2-7b", "chat", True),
        ("locuslab/tofu_ft_llama2-7b@main", "chat", True),
        ("models/tofu_ft_llama2-7b/", "plain", True),
        ("locuslab/tofu_ft_llama2-7b", "llama2", False),
        ("runs/target/model", "chat", False),
    ],
)
def test_a_published_target_in_another_format_is_warned_of(name, text_format, warned):
    reporter = Told()
    warn_about_format(name, text_format, reporter)
    assert len(reporter.warnings) == warned
    if warned:
        assert_names(reporter.warnings[0], name, "text.format=llama2", f"text.format={text_format}", "recipe=published")


def test_a_model_that_fills_the_gpu(source, monkeypatch):
    def fails(model):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "packing_unsupported_reason", fails)
    with pytest.raises(EffaceError, match=rf"model {source} fits into the GPU's memory, but .*; use device=cpu"):
        open_model(str(source), PLAIN, device=CPU, reporter=Told())


def test_one_process_of_each_machine_hashes_the_model(source, monkeypatch):
    """Of four processes on two machines, this is the second of the second machine."""
    sums = {"model.safetensors": "0" * 64}
    monkeypatch.setattr(distributed, "_group", distributed._Group(rank=3, world_size=4))
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(module, "model_sums", lambda _: pytest.fail("hashed"))
    monkeypatch.setattr(distributed, "all_gather", lambda value: [{}, None, sums, value])
    with module._hashed(source) as hashed:
        pass
    assert hashed() == sums
