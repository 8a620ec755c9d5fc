"""Model folders: which are refused, and how they are hashed."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch

from efface.errors import EffaceError
from efface.models.folder import load_model_config, model_folder, model_sha256
from efface.models.tokenizer import load_tokenizer
from support.messages import assert_names


@pytest.fixture
def copy(source, tmp_path):
    return shutil.copytree(source, tmp_path / "copy")


def test_a_folder_is_used_where_it_is(source):
    assert model_folder(str(source)) == source


def remove_config(folder):
    (folder / "config.json").unlink()


def remove_weights(folder):
    (folder / "model.safetensors").unlink()


def pickle_weights(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def remove_a_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (remove_config, ["has no config.json", "save_pretrained"]),
        (remove_weights, ["has no safetensors weights", "convert it"]),
        (pickle_weights, ["has no safetensors weights", "pickled weights are not loaded"]),
        (remove_a_shard, ["model-00002-of-00002.safetensors is missing", "copy or download"]),
        (shutil.rmtree, ["there is no folder", "model=FOLDER"]),
    ],
)
def test_refused_folders(copy, damage, named):
    damage(copy)
    with pytest.raises(EffaceError, match=re.escape(str(copy))) as refused:
        model_folder(str(copy))
    assert all(part in str(refused.value) for part in named)


def test_a_model_of_the_hub(hub, source):
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    hub.add("ada/tiny", files, private=True)
    with pytest.raises(EffaceError, match=r"model: .*ada/tiny .*HF_TOKEN.* model="):
        model_folder("ada/tiny")
    hub.repos["ada/tiny"].private = False
    assert model_sha256(model_folder("ada/tiny@main")) == model_sha256(source)
    hub.add("ada/pickled", {"config.json": b"{}", "pytorch_model.bin": b""})
    with pytest.raises(EffaceError, match="ada/pickled has no safetensors weights"):
        model_folder("ada/pickled")


def test_config_json_that_does_not_load(copy):
    assert load_model_config(copy).model_type == "llama"
    (copy / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(EffaceError, match=rf"config\.json of model {copy} does not load") as refused:
        load_model_config(copy)
    assert "\n" not in str(refused.value)
    assert_names(str(refused.value), "'unheard-of'", "install a version of transformers")
    (copy / "config.json").write_text('{"model_type": "llama", "num_attention_heads": "many"}')
    with pytest.raises(EffaceError, match=rf"config\.json of model {copy} does not load: .*; give the config.json"):
        load_model_config(copy)


@pytest.mark.parametrize("content", ["{ not JSON", "[1]", ""])
def test_config_json_that_is_not_json_is_named_also_for_the_tokenizer(copy, content):
    (copy / "config.json").write_text(content)
    for load in (load_model_config, load_tokenizer):
        with pytest.raises(EffaceError) as refused:
            load(copy)
        assert_names(str(refused.value), f"{copy}/config.json is not ", "copy or download the model again")
        assert "tokenizer" not in str(refused.value)


def test_the_hash_is_of_the_content(source, copy):
    assert model_sha256(copy) == model_sha256(source)
    (copy / "README.md").write_text("a card changes nothing")
    assert model_sha256(copy) == model_sha256(source)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_whatever_changes_the_model_changes_its_hash(source, copy, file):
    content = bytearray((copy / file).read_bytes())
    content[-1] ^= 1
    (copy / file).write_bytes(content)
    assert model_sha256(copy) != model_sha256(source)


def test_a_renamed_file_changes_the_hash(source, copy):
    (copy / "model.safetensors").rename(copy / "other.safetensors")
    assert model_sha256(copy) != model_sha256(source)


def test_more_layers_than_weights(copy):
    path = copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_layers": 1_000_000}))
    with pytest.raises(EffaceError) as error:
        load_model_config(copy)
    assert_names(str(error.value), str(copy), "1,000,000 layers", "weights", "config.json")


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "chat_template.jinja", "additional_chat_templates/tools.jinja"]
)
def test_a_file_beside_the_weights_has_a_limit(copy, name):
    (copy / name).parent.mkdir(exist_ok=True)
    with (copy / name).open("wb") as file:
        file.truncate(129 * 2**20)
    for load in (load_model_config, load_tokenizer):
        with pytest.raises(EffaceError) as raised:
            load(copy)
        assert_names(str(raised.value), str(copy / name), "129 MiB", "128 MiB")
