"""The tokenizer of a model, from its folder or named."""

from __future__ import annotations

import json
import shutil

import pytest

from efface.errors import EffaceError
from efface.models.tokenizer import load_tokenizer, model_tokenizer, tokenizer_sha256
from support.messages import assert_names
from support.templates import byte_level


@pytest.fixture
def bare(source, tmp_path):
    """A model's folder without a tokenizer."""
    folder = tmp_path / "bare"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("tokenizer*"))
    return folder


def message(function, *arguments):
    with pytest.raises(EffaceError) as raised:
        function(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_tokenizer_of_the_model(source):
    loaded = model_tokenizer(source, None)
    assert loaded.named is None
    assert loaded.tokenizer.get_vocab() == load_tokenizer(source).get_vocab()


def test_a_named_tokenizer(bare, source):
    loaded = model_tokenizer(bare, str(source))
    assert loaded.tokenizer("Turku").input_ids == load_tokenizer(source)("Turku").input_ids
    assert (loaded.named.name, loaded.named.sha256) == (str(source), tokenizer_sha256(source))
    assert model_tokenizer(source, str(source)).named is not None  # the same vocabulary as the model's own


def test_the_weights_of_its_folder_are_not_part_of_the_hash(source, tmp_path):
    shutil.copytree(source, tmp_path / "alone", ignore=shutil.ignore_patterns("*.safetensors", "generation*"))
    assert tokenizer_sha256(tmp_path / "alone") == tokenizer_sha256(source)
    (tmp_path / "alone" / "chat_template.jinja").write_text("{{ messages }}")
    assert tokenizer_sha256(tmp_path / "alone") != tokenizer_sha256(source)


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_folder_without_a_tokenizer(bare, model_type):
    """For GPT-2, transformers makes an empty tokenizer of no files."""
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    assert_names(message(load_tokenizer, bare), f"model {bare}", "tokenizer=NAME_OR_FOLDER", "save one")


def test_a_tokenizer_that_does_not_load(bare, source):
    (bare / "tokenizer.json").write_text("{}")
    assert_names(message(load_tokenizer, bare), f"model {bare}", "tokenizer=NAME_OR_FOLDER")


def changed_vocabulary(folder):
    byte_level().save_pretrained(folder)


def renamed_token(folder):
    stored = json.loads((folder / "tokenizer.json").read_text())
    vocab = stored["model"]["vocab"]
    first, second = list(vocab)[-2:]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (folder / "tokenizer.json").write_text(json.dumps(stored))


def larger_vocabulary(folder):
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["model"]["vocab"] |= {f"more{number}": 463 + number for number in range(100)}
    (folder / "tokenizer.json").write_text(json.dumps(stored))


@pytest.mark.parametrize("change", [changed_vocabulary, renamed_token, larger_vocabulary])
def test_a_tokenizer_of_another_vocabulary(source, tmp_path, change):
    other = tmp_path / "other"
    shutil.copytree(source, other)
    change(other)
    assert_names(
        message(model_tokenizer, source, str(other)),
        f"tokenizer {other}", f"model {source}", "another vocabulary", "trained from",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"vocab_size": 300}, ["463 tokens", "300"]),
        ({"vocab_size": 5000}, ["463 tokens", "5,000"]),
        ({"eos_token_id": [1, 500]}, ["500", "EOS"]),
    ],
)
def test_a_tokenizer_that_does_not_fit_a_model_without_one(bare, source, config, named):
    stored = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**stored, **config}))
    assert_names(message(model_tokenizer, bare, str(source)), "another vocabulary", *named)


def test_a_name_without_a_tokenizer(bare, source, tmp_path):
    assert_names(message(model_tokenizer, source, str(bare)), f"tokenizer {bare}", "no tokenizer files")
    assert_names(message(model_tokenizer, bare, str(tmp_path / "nowhere")), "nowhere", "tokenizer=FOLDER")


def test_only_the_tokenizer_is_downloaded(hub, bare, source):
    hub.add("ada/base", {path.name: path.read_bytes() for path in source.iterdir()})
    loaded = model_tokenizer(bare, "ada/base")
    assert loaded.named.sha256 == tokenizer_sha256(source)
    assert not any("safetensors" in request for request in hub.requests if "/resolve/" in request)
    hub.broken = True
    assert model_tokenizer(bare, "ada/base").named == loaded.named  # from the cache
