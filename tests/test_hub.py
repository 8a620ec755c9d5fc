"""Models by name: which files are downloaded at which revision with which token, the cache, and error messages."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path

import pytest

from efface.hub import UnavailableError, is_hub_name, missing_shards, resolve_model, why_unreachable

NAME = "ada/tiny"
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "model.safetensors": b"first weights",
}
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}).encode()
SHARDED = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors.index.json": INDEX,
    **dict.fromkeys(SHARDS, b"half of it"),
}


@pytest.fixture
def tiny(hub):
    return hub.add(NAME, FILES)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def problem(name):
    with pytest.raises(UnavailableError) as raised:
        resolve_model(name)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def downloads(hub):
    return [request for request in hub.requests if request.startswith("GET") and "/resolve/" in request]


# Names


def test_a_folder_is_used_in_place_even_with_an_at_in_its_name(hub, tmp_path, monkeypatch):
    hub.add("ada/tiny", FILES)
    monkeypatch.chdir(tmp_path)
    for name in ("ada/tiny", "ada/tiny@v1"):
        Path(name).mkdir(parents=True)
        assert resolve_model(name) == Path(name)
        assert not is_hub_name(name)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["ada/tiny", "ada/tiny@v1.0", "ada/tiny@refs/pr/4", "ada/tiny@" + "0a" * 20, "gpt2"])
def test_valid_names_on_the_hub(name):
    assert is_hub_name(name)


@pytest.mark.parametrize("name", ["./ada/tiny", "/ada/tiny", "~/tiny", "a/b/c", "two words", "ada/tiny@", "a/b@../x"])
def test_invalid_names_on_the_hub(name):
    assert not is_hub_name(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./nowhere", "there is no folder ./nowhere"),
        ("runs/first/model", "'runs/first/model' is neither a folder nor a possible hub name"),
        ("ada/tiny@", "'ada/tiny@' has no valid branch, tag or commit after the @"),
        ("ada/tiny@a..b", "'ada/tiny@a..b' has no valid branch, tag or commit after the @"),
    ],
)
def test_invalid_names_are_refused_without_the_hub(hub, name, sentence):
    assert problem(name) == sentence
    assert hub.requests == []


# Downloads


def test_only_configuration_tokenizer_and_safetensors_are_downloaded(hub):
    more = {
        "pytorch_model.bin": b"cos\nsystem\n(S'touch owned'\ntR.",
        "model.py": b"print('owned')",
        "consolidated.safetensors": b"the weights once more",
        "README.md": b"# Tiny",
    }
    hub.add(NAME, {**FILES, **more})
    assert content(resolve_model(NAME)) == FILES


def test_each_revision_has_its_files_and_is_downloaded_once(hub, tiny):
    first = tiny.branches["main"]
    second = tiny.commit({**FILES, "model.safetensors": b"second weights"})
    tiny.branches["v1"] = first

    weights = {
        name: content(resolve_model(name))["model.safetensors"] for name in (NAME, f"{NAME}@v1", f"{NAME}@{first}")
    }
    assert weights == {NAME: b"second weights", f"{NAME}@v1": b"first weights", f"{NAME}@{first}": b"first weights"}
    assert resolve_model(f"{NAME}@{second}") == resolve_model(NAME)

    tiny.commit({**FILES, "model.safetensors": b"third weights"})
    hub.requests.clear()
    for name, expected in weights.items():
        assert content(resolve_model(name))["model.safetensors"] == expected
    assert hub.requests == []


def test_a_model_in_the_cache_needs_no_hub(hub, tiny):
    resolve_model(NAME)
    hub.broken = True
    assert content(resolve_model(NAME)) == FILES


def test_a_sharded_model_is_complete(hub):
    hub.add(NAME, SHARDED)
    folder = resolve_model(NAME)
    assert content(folder) == SHARDED
    assert missing_shards(folder) == []


@pytest.mark.parametrize("lost", [SHARDS[1], "model.safetensors.index.json", "tokenizer.json", "config.json"])
def test_an_incomplete_model_in_the_cache_is_completed(hub, lost):
    """Other programs download single files, and leave no list of them."""
    from huggingface_hub import hf_hub_download

    hub.add(NAME, SHARDED)
    for name in SHARDED.keys() - {lost}:
        hf_hub_download(NAME, name)
    assert content(resolve_model(NAME)) == SHARDED

    hub.requests.clear()
    resolve_model(NAME)
    assert hub.requests == []


def test_missing_shards(tmp_path):
    assert missing_shards(tmp_path) == []
    (tmp_path / "model.safetensors.index.json").write_bytes(INDEX)
    (tmp_path / SHARDS[0]).write_bytes(b"")
    assert missing_shards(tmp_path) == [SHARDS[1]]
    (tmp_path / "model.safetensors.index.json").write_bytes(INDEX[:10])
    assert missing_shards(tmp_path) == ["model.safetensors.index.json"]
    (tmp_path / "model.safetensors").write_bytes(b"")  # the one that transformers loads
    assert missing_shards(tmp_path) == []


# Tokens


def test_a_private_model_needs_a_token_of_someone_who_may_read_it(hub, monkeypatch):
    hub.add(NAME, FILES, private=True)
    hub.users = {"hf_ada": "ada", "hf_bob": "bob"}
    assert problem(NAME) == (
        f"the hub has no public model {NAME} (check the name; if it is private, set HF_TOKEN or run `hf auth login`)"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    assert problem(NAME) == (
        f"the hub has no model {NAME} that your token may read (check the name and `hf auth whoami`)"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    assert problem(NAME) == (
        f"the hub does not accept your token (create one on {hub.url}/settings/tokens, then set HF_TOKEN or run "
        "`hf auth login`)"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_ada")
    assert content(resolve_model(NAME)) == FILES


def test_the_token_of_a_login_counts_too(hub, tmp_path):
    hub.add(NAME, FILES, private=True)
    hub.users = {"hf_ada": "ada"}
    (tmp_path / "no-token").write_text("hf_ada")
    assert content(resolve_model(NAME)) == FILES


def test_a_gated_model_names_the_page_to_request_access(hub, monkeypatch):
    repo = hub.add(NAME, FILES, gated=True)
    hub.users = {"hf_bob": "bob"}
    request = f"{NAME} is gated (request access on {hub.url}/{NAME}"
    assert problem(NAME) == f"{request}, then set HF_TOKEN or run `hf auth login`)"
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    assert problem(NAME) == f"{request} with the account of your token)"
    repo.granted.add("bob")
    assert content(resolve_model(NAME)) == FILES


# Other answers of the hub, and none


def test_an_unknown_model(hub):
    assert f"the hub has no public model {NAME} (check the name;" in problem(NAME)


def test_files_without_access(hub, tiny):
    tiny.locked = True
    assert problem(NAME) == f"the hub does not give access to {NAME} (HTTP 403: this repository is locked)"


def test_an_unknown_revision(hub, tiny):
    resolve_model(NAME)  # another revision in the cache does not count
    assert problem(f"{NAME}@v9") == (
        f"the hub's {NAME} has no revision v9 (its branches and tags are on {hub.url}/{NAME}/tree/main)"
    )


def test_a_hub_with_a_server_error(hub, tiny):
    hub.broken = True
    assert problem(NAME) == (
        f"{NAME} is neither a folder nor complete in the hub's cache, and the hub cannot be reached (HTTP 503)"
    )
    assert why_unreachable() == f"the hub cannot be reached ({hub.url} answers with HTTP 503)"


def test_a_hub_that_is_switched_off(hub, tiny, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert problem(NAME).endswith("nor complete in the hub's cache, and HF_HUB_OFFLINE keeps efface from the hub")
    assert why_unreachable() == "HF_HUB_OFFLINE keeps efface from the hub"
    assert hub.requests == []


def test_a_hub_that_cannot_be_reached(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    start = time.monotonic()
    assert problem(NAME).endswith("and the hub cannot be reached (ConnectError)")
    assert why_unreachable() == "the hub cannot be reached (ConnectError)"
    assert time.monotonic() - start < 25


def test_a_hub_that_answers(hub):
    assert why_unreachable() is None
    assert hub.requests == ["HEAD /"]


def test_a_disk_that_is_full(hub, tiny, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    monkeypatch.setattr("efface.hub._find_cached", lambda *_: None)
    cache = tmp_path / "hub-cache"
    expected = f"{NAME} cannot be written to {cache}: No space left on device (free some space or set HF_HOME)"
    assert problem(NAME) == expected
