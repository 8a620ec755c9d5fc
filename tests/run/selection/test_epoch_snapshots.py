"""The weights at each epoch's end: which are kept, and that a model rebuilt of them is the one that was there."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.models.save import save_model
from efface.models.tokenizer import load_tokenizer
from efface.progress.reporter import SilentReporter
from efface.run import pipeline
from efface.run.pipeline import run, unlearn
from efface.run.selection.epoch_snapshots import EpochSnapshots
from support.runs import Told


@pytest.fixture
def config(settings):
    """3 epochs of 4 steps each, scored after each."""
    evaluate = {"every": "epoch", "limit": 1, "max_new_tokens": 2}
    base = merge_settings(settings, {"train": {"epochs": 3}, "evaluate": evaluate})
    return lambda **changes: validate_config(RunConfig, merge_settings(base, changes))


@pytest.fixture
def taken(monkeypatch):
    """Step -> a copy of the model as it is in memory when the step is over."""
    copies = {}
    take = EpochSnapshots.take

    def watched(self, placement, step):
        copies[step] = copy.deepcopy(placement.model)
        take(self, placement, step)

    monkeypatch.setattr(EpochSnapshots, "take", watched)
    return copies


@pytest.fixture
def rebuilt(monkeypatch, tmp_path):
    """Run until the epochs would be scored; give the model of each epoch but the last, rebuilt in a folder."""

    def make(config):
        def instead(_, snapshots, *arguments):
            for epoch, folder in folders.items():
                snapshots.rebuild(epoch, folder)
            raise KeyboardInterrupt

        folders = {epoch: tmp_path / f"rebuilt-{epoch}" / "model" for epoch in (1, 2)}
        monkeypatch.setattr(pipeline, "score_epochs", instead)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "run")
        return folders

    return make


def trained(model):
    return {name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_lies_on_disk(config, tmp_path, taken):
    """What was trained by the end of each epoch but the last, and one whole model while it is scored."""
    epochs, lies, stored = tmp_path / "run" / "checkpoints" / "epochs", {}, {}

    class Looking(Told):
        def on_stage(self, text):
            lies[text] = {path.name for path in epochs.glob("*")}
            stored.update({path.parent.name: load_file(path) for path in epochs.glob("epoch-*/*")})

    run(config(), tmp_path / "run", reporter=Looking())
    kept = {"epoch-001", "epoch-002"}
    assert lies == {
        "evaluating before unlearning": set(),
        "unlearning with me+gd": set(),
        "evaluating after epoch 3": kept,
        "evaluating after epoch 1": {*kept, "model"},
        "evaluating after epoch 2": {*kept, "model"},
    }
    for name, step in (("epoch-001", 4), ("epoch-002", 8)):
        there = trained(taken[step])
        assert stored[name].keys() == there.keys()
        assert all(torch.equal(stored[name][each], there[each]) for each in there)
    assert not (tmp_path / "run" / "checkpoints").exists()


CASES = {
    "all weights": ({}, torch.float32),
    "bf16": ({}, torch.bfloat16),
    "adapters": ({"lora": {"r": 2, "dropout": 0.3}}, torch.float32),
    "adapters of bf16": ({"lora": {"r": 2}}, torch.bfloat16),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "dtype"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.slow if case[1] == torch.bfloat16 else ())
        for name, case in CASES.items()
    ],
)
def test_a_rebuilt_model_is_what_saving_it_then_would_have_left(
    config, tmp_path, taken, rebuilt, model_in, train, dtype
):
    source = model_in(dtype)
    here = rebuilt(config(model=str(source), train=train))
    for epoch, step in ((1, 4), (2, 8)):
        there = tmp_path / f"then-{epoch}" / "model"
        save_model(taken[step], load_tokenizer(source), there, source=source, name=str(source))
        assert files(here[epoch]) == files(there)
        adapters = [folder.with_name("adapter") for folder in (here[epoch], there)]
        assert [each.is_dir() for each in adapters] == [bool(train)] * 2
        if train:
            assert files(adapters[0]) == files(adapters[1])
    assert files(here[1])["model.safetensors"] != files(here[2])["model.safetensors"]


def test_a_tied_head_stays_tied(config, tmp_path, source, taken, rebuilt):
    tied = tmp_path / "tied"
    model = AutoModelForCausalLM.from_pretrained(source)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tied)
    load_tokenizer(source).save_pretrained(tied)
    folder = rebuilt(config(model=str(tied)))[2]
    left = AutoModelForCausalLM.from_pretrained(folder)
    assert left.lm_head.weight is left.model.embed_tokens.weight
    assert all(torch.equal(each, taken[8].get_parameter(name)) for name, each in left.named_parameters())


@pytest.mark.slow
def test_what_a_kill_lost_is_taken_again(config, tmp_path, taken):
    """Killed between the last step of an epoch and the checkpoint that holds it: from step 6, it comes again."""

    class Dies(SilentReporter):
        def on_step(self, log):
            if log.step == 8:
                raise KeyboardInterrupt

    chosen = config(train={"save_steps": 3})
    with pytest.raises(KeyboardInterrupt):
        run(chosen, tmp_path / "run", reporter=Dies())
    first = trained(taken[8])
    taken.clear()
    run(chosen, tmp_path / "run", resume=True)
    assert sorted(taken) == [7, 8, 9, 10, 11, 12]
    assert all(torch.equal(first[name], value) for name, value in trained(taken[8]).items())


def test_a_full_disk_ends_in_a_sentence(config, tmp_path, files_of_at_most):
    out, chosen = tmp_path / "run", config(train={"save_steps": 12})
    with (
        files_of_at_most(300_000),
        pytest.raises(EffaceError, match=r"cannot write .*epoch-001 .*free some space") as raised,
    ):
        run(chosen, out)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.rglob("*partial*"))
    assert not (out / "model").exists()


def test_a_model_that_was_unlearned_without_scores_has_no_epochs(config, tmp_path):
    unlearn(config(), tmp_path / "run")
    with pytest.raises(EffaceError, match=r"the weights of epoch-001 are not in .*epoch-001.*; start over in another"):
        run(config(), tmp_path / "run", resume=True)
