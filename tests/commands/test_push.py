"""Pushing a run's model to a hub: what arrives there, in how many commits, and what is refused before anything does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from efface.commands.push import push
from efface.errors import EffaceError
from efface.files.atomic import write_json, write_text
from efface.models.folder import model_folder
from efface.models.lora import add_adapters, write_adapter
from efface.train.config import LoRAConfig

REPO = "ada/forgot"
CARD = "---\nlibrary_name: transformers\n---\n# Unlearned\n"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.fixture(autouse=True)
def _logged_in(hub, monkeypatch):
    hub.users = {"hf_ada": "ada"}
    monkeypatch.setenv("HF_TOKEN", "hf_ada")


@pytest.fixture
def finished(source, made, tmp_path):
    """The folder of a finished `efface run`; what lies beside its model must not leave the machine."""
    run = tmp_path / "run"
    shutil.copytree(source, run / "model")
    write_text(run / "model" / "README.md", CARD)
    write_json(run / "manifest.json", made.model_dump())
    write_json(run / "results.json", {})
    (run / "records" / "before").mkdir(parents=True)
    write_text(run / "records" / "before" / "forget.jsonl", "{}\n")
    return run


@pytest.fixture
def unlearned(source, made, tmp_path):
    """The folder of an `efface unlearn` or `efface finetune`: neither records nor scores."""
    run = tmp_path / "unlearned"
    shutil.copytree(source, run / "model")
    write_json(run / "manifest.json", made.model_dump())
    return run


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pushed(hub, branch="main"):
    return {name: data for name, data in hub.repos[REPO].files(branch).items() if name != ".gitattributes"}


def refused(hub, *arguments, **settings):
    """The sentence of a push after which the hub is as it was."""
    before = {name: dict(repo.branches) for name, repo in hub.repos.items()}
    with pytest.raises(EffaceError) as raised:
        push(*arguments, **settings)
    assert {name: dict(repo.branches) for name, repo in hub.repos.items()} == before
    assert "\n" not in str(raised.value)
    return str(raised.value)


# What arrives


def test_a_finished_run_arrives_whole_private_and_in_one_commit(hub, finished):
    assert push(finished, REPO) == f"{hub.url}/{REPO}"
    repo = hub.repos[REPO]
    assert repo.private
    assert pushed(hub) == content(finished / "model")
    assert len(repo.messages) == 1
    assert repo.messages[0].startswith("Model pushed with efface ")


def test_what_was_pushed_can_be_fetched_and_loaded(hub, finished):
    push(finished, REPO)
    fetched = AutoModelForCausalLM.from_pretrained(model_folder(REPO))
    there = AutoModelForCausalLM.from_pretrained(finished / "model")
    assert all(torch.equal(*pair) for pair in zip(fetched.parameters(), there.parameters(), strict=True))


def test_a_run_without_scores_and_a_models_own_folder(hub, unlearned):
    push(unlearned, REPO)
    assert pushed(hub) == content(unlearned / "model")
    push(unlearned / "model", "ada/second")
    assert hub.repos["ada/second"].files().items() >= pushed(hub).items()


def test_nothing_but_the_model_leaves_the_folder(hub, finished):
    model = finished / "model"
    expected = content(model)
    for name in (
        "pytorch_model.bin",
        "training_args.bin",
        "own.py",
        ".env",
        ".config.json",
        "forget.json",
        "notes.txt",
    ):
        (model / name).write_text("mine")
    (model / "checkpoints").mkdir()
    (model / "checkpoints" / "model.safetensors").write_text("mine")
    push(finished, REPO)
    assert pushed(hub) == expected


def test_every_file_that_a_tokenizer_or_a_sharded_model_is_made_of(hub, finished):
    model = finished / "model"
    (model / "model.safetensors").rename(model / SHARDS[0])
    for name in (SHARDS[1], "chat_template.jinja", "vocab.json", "vocab.txt", "merges.txt", "spiece.model"):
        (model / name).write_text(name)
    index = {"weight_map": dict(zip("ab", SHARDS, strict=True))}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    push(finished, REPO)
    assert pushed(hub) == content(model)


def test_the_adapter_alone(hub, finished, source):
    model = add_adapters(AutoModelForCausalLM.from_pretrained(source), LoRAConfig(r=2), seed=0)
    write_adapter(model, finished / "adapter", base="ada/base")
    push(finished, REPO, adapter=True)
    assert set(pushed(hub)) == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    assert pushed(hub) == content(finished / "adapter")
    assert hub.repos[REPO].messages[0].startswith("Adapter pushed with efface ")
    push(finished / "adapter", "ada/second", adapter=True)
    assert hub.repos["ada/second"].files().items() >= pushed(hub).items()
    settings = finished / "adapter" / "adapter_config.json"
    for damaged in ("nojson", "[1]", "{}"):
        settings.write_text(damaged)
        assert refused(hub, finished, "ada/third", adapter=True) == (
            f"{settings} does not name the adapter's model; save the adapter again with PEFT"
        )
    write_adapter(model, finished / "adapter", base="/home/ada/base")
    assert refused(hub, finished, "ada/third", adapter=True) == (
        f"{finished / 'adapter'} is an adapter for /home/ada/base, which is only on this machine; push the run's model "
        "instead, or write that model's name on the hub as base_model_name_or_path into its adapter_config.json"
    )


def test_a_branch_is_made_and_the_main_one_stays(hub, finished):
    hub.add(REPO, {"README.md": b"old"}, private=True)
    assert push(finished, REPO, revision="forget05") == f"{hub.url}/{REPO}/tree/forget05"
    assert pushed(hub, "forget05") == content(finished / "model")
    assert pushed(hub) == {"README.md": b"old"}
    push(finished, REPO, revision="forget05")  # there already


def test_a_second_push_leaves_no_weights_of_the_first(hub, finished):
    """A single file goes before shards: the old model would be loaded in place of the new one."""
    old = {"model.safetensors": b"old", "model-00001-of-00009.safetensors": b"old", "notes.md": b"mine"}
    hub.add(REPO, {**old, "adapter_model.safetensors": b"another's", "onnx/model.safetensors": b"mine"}, private=True)
    model = finished / "model"
    (model / "model.safetensors").rename(model / SHARDS[0])
    (model / SHARDS[1]).write_text("rest")
    (model / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))})
    )
    push(finished, REPO)
    kept = {"notes.md": b"mine", "adapter_model.safetensors": b"another's", "onnx/model.safetensors": b"mine"}
    assert pushed(hub) == {**content(model), **kept}
    assert len(hub.repos[REPO].messages) == 1


# Public and private


def test_public_when_asked(hub, finished):
    push(finished, REPO, private=False)
    assert not hub.repos[REPO].private
    push(finished, REPO, private=False)


def test_a_private_push_never_ends_up_in_a_public_repository(hub, finished):
    hub.add(REPO, {})
    message = refused(hub, finished, REPO)
    for part in (f"{hub.url}/{REPO} already exists and is public", "push with --public", "choose another name"):
        assert part in message


# What is refused here


def drop(*names):
    """A change of a run's folder: remove these files or folders."""

    def change(folder):
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def evaluation_alone(folder):
    shutil.rmtree(folder / "model")
    write_json(folder / "scores.json", {})


def first_shard_alone(folder):
    model = folder / "model"
    (model / "model.safetensors").rename(model / SHARDS[0])
    (model / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))})
    )


@pytest.mark.parametrize(
    ("scored", "change", "adapter", "parts"),
    [
        (True, drop("results.json"), False, ["run in RUN is not finished", "--resume"]),
        (True, drop("results.json"), True, ["run in RUN is not finished", "--resume"]),
        (True, drop("model/README.md"), False, ["run in RUN is not finished", "--resume"]),
        (False, drop("model"), False, ["run in RUN is not finished", "--resume"]),
        (False, evaluation_alone, False, ["RUN is an evaluation", "push the run or the model that it scored"]),
        (True, drop(), True, ["run in RUN trained no adapter", "push its model instead"]),
        (False, drop("model/config.json"), False, ["RUN/model", "no config.json", "give the folder of one"]),
        (False, drop("model/model.safetensors"), False, ["RUN/model has no safetensors weights", "save the model as"]),
        (False, first_shard_alone, False, ["RUN/model", SHARDS[1], "save or copy the complete model"]),
    ],
)
def test_folders_that_cannot_be_pushed(hub, finished, unlearned, scored, change, adapter, parts):
    folder = finished if scored else unlearned
    change(folder)
    message = refused(hub, folder, REPO, adapter=adapter)
    for part in parts:
        assert part.replace("RUN", str(folder)) in message
    assert hub.requests == []


def test_a_model_folder_is_checked_as_the_model_of_a_run(hub, unlearned, finished):
    drop("model/config.json")(unlearned)
    assert refused(hub, unlearned / "model", REPO) == refused(hub, unlearned, REPO)
    message = refused(hub, finished / "model", REPO, adapter=True)
    for part in (
        str(finished / "model"),
        "adapter_config.json",
        "give the folder of a run with LoRA or of its adapter",
    ):
        assert part in message


def test_a_folder_that_does_not_exist(hub):
    assert "there is no folder nowhere; give that of" in refused(hub, Path("nowhere"), REPO)


@pytest.mark.parametrize("name", ["forgot", "a/b/c", "ada/two words", "ada/for--got", "ada/forgot@v1", "./here", ""])
def test_names_that_the_hub_does_not_have(hub, finished, name):
    assert refused(hub, finished, name).startswith(
        f"{name!r} is not a repository name; give owner/name in letters, digits"
    )
    assert hub.requests == []


def test_nobody_logged_in(hub, finished, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert refused(hub, finished, REPO) == (
        "the hub needs a token to push; create one with write access on "
        f"{hub.url}/settings/tokens, then set HF_TOKEN or run `hf auth login`"
    )
    assert hub.requests == []


# What the hub refuses


def test_a_token_that_is_not_valid(hub, finished, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    assert refused(hub, finished, REPO).startswith(f"cannot push to {REPO}: the hub does not accept your token (create")


def test_other_answers_of_the_hub_are_passed_on(hub, finished):
    hub.full = True
    message = refused(hub, finished, REPO)
    for part in (f"cannot push to {REPO}", "Private storage limit reached (HTTP 402)", "choose another name"):
        assert part in message


@pytest.mark.parametrize("is_there", [False, True])
def test_somebody_elses_name(hub, finished, is_there):
    if is_there:
        hub.add("bob/theirs", {"README.md": b"mine"})
    assert refused(hub, finished, "bob/theirs", private=False) == (
        "cannot push to bob/theirs: your token has no write access (see `hf auth whoami`); use one that has, or "
        "another owner than 'bob'"
    )


def test_a_card_that_the_hub_does_not_take(hub, finished):
    write_text(finished / "model" / "README.md", "no header")
    hub.add(REPO, {}, private=True)
    assert refused(hub, finished, REPO) == (
        f"cannot push {finished / 'model'}: Invalid metadata in README.md. - no header; fix it, then push again"
    )


def test_a_hub_in_trouble_or_out_of_reach(hub, finished, monkeypatch):
    hub.broken = True
    assert (
        refused(hub, finished, REPO) == f"cannot push to {REPO}: the hub cannot be reached (HTTP 503); push again later"
    )
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    assert "the hub cannot be reached (ConnectError); push again later" in refused(hub, finished, REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE keeps efface from the hub" in refused(hub, finished, REPO)
