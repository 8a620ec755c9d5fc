"""KL's reference in a run: which way it is asked, that all ways give the same, and that a stop changes nothing."""

from __future__ import annotations

import gc
import json
import weakref
from collections import namedtuple

import pytest
import torch
from transformers import AutoModelForCausalLM

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.models.load import load_model
from efface.reference.hidden_states import CachedHiddenStates
from efface.run import reference_model as module
from efface.run import unlearning_stage
from efface.run.pipeline import unlearn
from support.runs import Told

pytestmark = pytest.mark.usefixtures("quick_collection")
LORA = {"r": 2, "dropout": 0.3}
Usage = namedtuple("Usage", "total used free")


class Watching(Told):
    """Counts the models in memory at each step, and dies after one, as the process would."""

    def __init__(self, models, dies_after=None):
        super().__init__()
        self.models, self.dies_after, self.beside = models, dies_after, []

    def on_step(self, log):
        self.beside.append(sum(model() is not None for model in self.models) - 1)
        if log.step == self.dies_after:
            raise KeyboardInterrupt


@pytest.fixture
def models(monkeypatch):
    """Those that training loaded."""
    loaded = []

    def watched(folder, **settings):
        model = load_model(folder, **settings)
        loaded.append(weakref.ref(model.get_input_embeddings()))
        return model

    monkeypatch.setattr(unlearning_stage, "load_model", watched)
    gc.disable()  # what is not needed must be gone now, not when Python collects
    yield loaded
    gc.enable()


@pytest.fixture
def run(settings, models, tmp_path):
    """Unlearn in a folder of that name; gives the reporter."""

    def make(name, *, dies_after=None, resume=False, **changes):
        short = {"method": "ga+kl", "train": {"epochs": 1, "save_steps": 1}}
        config = validate_config(RunConfig, merge_settings(merge_settings(settings, short), changes))
        watching = Watching(models, dies_after)
        models.clear()
        if dies_after is None:
            unlearn(config, tmp_path / name, reporter=watching, resume=resume)
        else:
            with pytest.raises(KeyboardInterrupt):
                unlearn(config, tmp_path / name, reporter=watching, resume=resume)
        return watching

    return make


@pytest.fixture
def outcome(tmp_path):
    """The weights of a run, and its steps."""

    def read(name):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        steps = [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]
        return (tmp_path / name / "model" / "model.safetensors").read_bytes(), steps

    return read


@pytest.mark.parametrize(
    ("lora", "beside"), [(None, {"auto": 0, "cached": 0, "live": 1}), (LORA, {"auto": 0, "cached": 0, "live": 0})]
)
def test_every_way_trains_the_same_model(run, outcome, tmp_path, lora, beside):
    """What differs is whether there is a second model in memory, and a file."""
    found = {}
    for way in beside:
        watching = run(way, train={"lora": lora, "kl_reference": way})
        assert set(watching.beside) == {beside[way]}
        assert not watching.warnings
        steps = [step["retain"] for step in outcome(way)[1]]
        model = AutoModelForCausalLM.from_pretrained(tmp_path / way / "model")
        found[way] = torch.tensor(steps), torch.cat([each.detach().flatten() for each in model.parameters()])
    assert found["live"][0][-1] > 1e-4
    (losses, weights), (live_losses, live_weights) = found["cached"], found["live"]
    torch.testing.assert_close(losses, live_losses, rtol=1e-5, atol=1e-6)
    # Adam divides by a gradient's size: where that is as small as its rounding, a weight moves by a part of lr = 1e-3
    torch.testing.assert_close(weights, live_weights, rtol=1e-5, atol=1e-6 if lora else 5e-5)
    assert outcome("auto") == outcome("cached" if lora is None else "live")


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_another_model_is_gone_once_its_states_are_kept(run, source, tmp_path, lora):
    other = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        other.lm_head.weight.mul_(1.1)
    other.save_pretrained(tmp_path / "other")
    for file in source.glob("*token*"):
        (tmp_path / "other" / file.name).write_bytes(file.read_bytes())
    assert set(run("cached", reference=str(tmp_path / "other"), train={"lora": lora}).beside) == {0}
    live = run("live", reference=str(tmp_path / "other"), train={"lora": lora, "kl_reference": "live"})
    assert set(live.beside) == {1}
    first, second = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("cached", "live"))
    assert json.loads(first[-1])["retain"] == pytest.approx(json.loads(second[-1])["retain"], rel=1e-4)
    assert json.loads(first[0])["retain"] > 1e-4


def test_a_stopped_run_ends_as_one_that_never_stopped(run, outcome, tmp_path, monkeypatch):
    """Where the file is lost, it is computed before a checkpoint is loaded; where it is there, it is read."""
    settings = {"method": "npo+kl", "train": {"kl_reference": "cached"}}
    run("whole", **settings)
    run("cut", **settings, dies_after=2)
    states = tmp_path / "cut" / "checkpoints" / "reference.safetensors"
    kept = states.read_bytes()
    states.unlink()
    run("cut", **settings, dies_after=3, resume=True)
    assert states.read_bytes() == kept
    monkeypatch.setattr(CachedHiddenStates, "compute", None)
    run("cut", **settings, resume=True)
    assert outcome("cut") == outcome("whole")
    assert not states.exists()


def test_where_the_disk_is_short_a_second_model_is_kept_and_stays(run, outcome, monkeypatch):
    """A run that goes on compares as it did before: other rounding would be another run."""
    run("whole", train={"kl_reference": "live"})
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda _: Usage(10**6, 0, 10_000))
        short = run("cut", dies_after=2)
    assert set(short.beside) == {1}
    [warning] = short.warnings
    assert warning.startswith("KL compares with a second model in memory: hidden states would take ")
    assert "of the 9.77 KiB that" in warning
    assert run("cut", resume=True).beside == [1, 1, 1]
    assert outcome("cut") == outcome("whole")
