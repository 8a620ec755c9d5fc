"""The reference model of a run: the model before unlearning or another, cached or live, and across a stop."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.models import load_parallel
from efface.models.folder import model_sha256
from efface.models.load import load_model
from efface.models.tokenizer import load_tokenizer
from efface.reference.hidden_states import CachedHiddenStates
from efface.reference.logprobs import CachedLogprobs
from efface.run import unlearning_stage
from efface.run.folder import RunFolder
from efface.run.pipeline import unlearn
from efface.run.preparation import reference_model as module
from efface.run.preparation.prepare import prepare
from efface.train.checkpoints import checkpoint_writer
from support.messages import assert_names
from support.runs import Told

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parents[2] / "golden" / "reference"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another model that reads the same tokens."""
    folder = tmp_path_factory.mktemp("models") / "other"
    AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(GOLDEN).save_pretrained(folder)
    return folder


@pytest.fixture
def config(settings):
    """Two steps."""
    base = merge_settings(settings, {"train": {"epochs": 1, "batch_size": 10}})
    return lambda **changes: validate_config(RunConfig, merge_settings(base, changes))


@pytest.fixture
def compared(monkeypatch):
    """What the objective was given to compare with."""
    given, make = [], unlearning_stage.make_reference

    def watched(*arguments, **settings):
        given.append(make(*arguments, **settings))
        return given[-1]

    monkeypatch.setattr(unlearning_stage, "make_reference", watched)
    return given


def first_step(out):
    return json.loads((out / "metrics.jsonl").read_text().splitlines()[0])


@pytest.mark.parametrize(
    ("method", "lora", "another"),
    [("npo+gd", None, True), ("dpo+gd", {"r": 2}, True), ("dpo+gd", None, False), ("npo+gd", {"r": 2}, False)],
)
def test_log_probs_are_those_of_the_reference(config, source, other, compared, tmp_path, lora, method, another):
    chosen = config(method=method, reference=str(other) if another else None, train={"lora": lora})
    prepared, _ = prepare(chosen, RunFolder(tmp_path / "run"), data_dir=None, reporter=Told(), resume=False)
    unlearn(chosen, tmp_path / "run")
    model = load_model(other if another else source, dtype=torch.float32, device=CPU)
    views = prepared.plan.objective.sequence_reference_views
    seen = [example[view] for step in prepared.plan.steps for example in step for view in views]
    expected = CachedLogprobs.compute(model, seen, max_tokens_per_forward=10_000)(seen)
    assert compared[0].sequence_logprobs(seen) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["full", "lora"])
def test_kl_is_that_to_the_reference(config, source, other, tmp_path, lora):
    """By hand, over the answers of the first step's retain items; nothing is learned yet."""
    chosen = config(method="ga+kl", reference=str(other), train={"lora": lora}, kl={"positions": "answer"})
    prepared, _ = prepare(chosen, RunFolder(tmp_path / "run"), data_dir=None, reporter=Told(), resume=False)
    unlearn(chosen, tmp_path / "run")
    mine, its = (load_model(folder, dtype=torch.float32, device=CPU) for folder in (source, other))
    total, tokens = 0.0, 0
    for item in (example["retain"] for example in prepared.plan.steps[0]):
        ids = torch.tensor([item.prompt + item.answer])
        start = len(item.prompt) - 1
        with torch.no_grad():
            logp, ref = (model(ids).logits[0, start:-1].log_softmax(-1) for model in (mine, its))
        total += (ref.exp() * (ref - logp)).sum().item()
        tokens += len(item.answer)
    assert first_step(tmp_path / "run")["retain"] == pytest.approx(total / tokens, rel=1e-4)
    assert total / tokens > 1e-3


def test_a_reference_without_its_tokenizer_has_the_named_one(config, source, other, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(other, bare, ignore=shutil.ignore_patterns("tokenizer*"))
    named = config(method="npo+gd", reference=str(bare), tokenizer=str(source))
    unlearn(named, tmp_path / "run")
    [note] = RunFolder(tmp_path / "run").read_manifest().notes
    assert note == f"compared with {bare} (sha256 {model_sha256(bare)})"
    with pytest.raises(EffaceError) as raised:
        unlearn(config(method="npo+gd", reference=str(bare)), tmp_path / "other")
    assert_names(str(raised.value), str(bare), "no tokenizer", "tokenizer=NAME_OR_FOLDER")


def test_the_manifest_names_it(config, other, tmp_path):
    unlearn(config(method="npo+gd", reference=str(other)), tmp_path / "run")
    made = RunFolder(tmp_path / "run").read_manifest()
    assert made.notes == [f"compared with {other} (sha256 {model_sha256(other)})"]


def test_a_method_that_compares_with_nothing_says_so(config, other, tmp_path):
    told = Told()
    chosen = config(method="me+gd", reference=str(other))
    prepare(chosen, RunFolder(tmp_path / "run"), data_dir=None, reporter=told, resume=False)
    assert f"method me+gd has no reference model; reference={other} is not used" in told.warnings


def test_one_that_changed_on_the_way_is_refused(config, other, tmp_path):
    class Dies(Told):
        def on_step(self, log):
            raise KeyboardInterrupt

    reference = tmp_path / "reference"
    AutoModelForCausalLM.from_pretrained(other).save_pretrained(reference)
    load_tokenizer(other).save_pretrained(reference)
    chosen = config(method="npo+gd", reference=str(reference))
    with pytest.raises(KeyboardInterrupt):
        unlearn(chosen, tmp_path / "run", reporter=Dies())
    changed = AutoModelForCausalLM.from_pretrained(reference)
    with torch.no_grad():
        changed.lm_head.weight.add_(1)
    changed.save_pretrained(reference)
    with pytest.raises(EffaceError, match=r"--resume: reference .*reference has changed since the run started; start"):
        unlearn(chosen, tmp_path / "run", resume=True)


def test_one_that_cannot_be_compared_with_is_refused(config, source, other, tmp_path):
    resized = tmp_path / "resized"
    model = AutoModelForCausalLM.from_pretrained(other)
    rows = model.config.vocab_size
    model.resize_token_embeddings(rows + 8)
    model.save_pretrained(resized)
    load_tokenizer(other).save_pretrained(resized)

    def refused(method, reference):
        with pytest.raises(EffaceError) as raised:
            unlearn(config(method=method, reference=str(reference)), tmp_path / "run")
        assert not (tmp_path / "run").exists()
        return str(raised.value)

    sentence = f"reference {resized} gives {rows + 8} logits and model {source} {rows}, and ga+kl compares all of them"
    assert refused("ga+kl", resized) == f"{sentence}; give a model that was not resized"
    unlearn(config(method="npo+gd", reference=str(resized)), tmp_path / "fits")
    tokenizer = load_tokenizer(other)
    tokenizer.add_tokens(["<another>"])
    tokenizer.save_pretrained(resized)
    assert f"reference {resized} has another vocabulary than model {source}; give" in refused("npo+gd", resized)
    assert "'no/where/there' is neither a folder nor" in refused("npo+gd", "no/where/there")


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

    monkeypatch.setattr(load_parallel, "load_model", watched)
    gc.disable()  # what is not needed must be gone now, not when Python collects
    yield loaded
    gc.enable()


@pytest.fixture
def unlearned(settings, models, tmp_path):
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lora", "beside"), [(None, {"auto": 0, "cached": 0, "live": 1}), (LORA, {"auto": 0, "cached": 0, "live": 0})]
)
def test_every_way_trains_the_same_model(unlearned, outcome, tmp_path, lora, beside):
    """What differs is whether there is a second model in memory, and a file."""
    found = {}
    for way in beside:
        watching = unlearned(way, train={"lora": lora, "kl_reference": way})
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
    assert outcome("auto") == outcome("cached")


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_another_model_is_gone_once_its_states_are_kept(unlearned, source, tmp_path, lora):
    other = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        other.lm_head.weight.mul_(1.1)
    other.save_pretrained(tmp_path / "other")
    for file in source.glob("*token*"):
        (tmp_path / "other" / file.name).write_bytes(file.read_bytes())
    assert set(unlearned("cached", reference=str(tmp_path / "other"), train={"lora": lora}).beside) == {0}
    live = unlearned("live", reference=str(tmp_path / "other"), train={"lora": lora, "kl_reference": "live"})
    assert set(live.beside) == {1}
    first, second = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("cached", "live"))
    assert json.loads(first[-1])["retain"] == pytest.approx(json.loads(second[-1])["retain"], rel=1e-4)
    assert json.loads(first[0])["retain"] > 1e-4


@pytest.mark.slow
def test_a_stopped_run_ends_as_one_that_never_stopped(unlearned, outcome, tmp_path, monkeypatch):
    """Where the file is lost, it is computed before a checkpoint is loaded; where it is there, it is read."""
    settings = {"method": "npo+kl", "train": {"kl_reference": "cached"}}
    unlearned("whole", **settings)
    unlearned("cut", **settings, dies_after=2)
    states = tmp_path / "cut" / "checkpoints" / "reference.safetensors"
    kept = states.read_bytes()
    states.unlink()
    unlearned("cut", **settings, dies_after=3, resume=True)
    assert states.read_bytes() == kept
    monkeypatch.setattr(CachedHiddenStates, "compute", None)
    unlearned("cut", **settings, resume=True)
    assert outcome("cut") == outcome("whole")
    assert not states.exists()


@pytest.mark.slow
def test_where_the_disk_is_short_a_second_model_is_kept_and_stays(unlearned, outcome, monkeypatch):
    """A run that goes on compares as it did before: other rounding would be another run."""
    unlearned("whole", train={"kl_reference": "live"})
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda _: Usage(10**6, 0, 10_000))
        patch.setattr(checkpoint_writer, "disk_free", lambda _: 10**9)  # checkpoints have space
        short = unlearned("cut", dies_after=2)
    assert set(short.beside) == {1}
    [warning] = short.warnings
    assert warning.startswith("KL compares with a second model in memory: hidden states would take ")
    assert "of the 9.77 KiB that" in warning
    assert unlearned("cut", resume=True).beside == [1, 1, 1]
    assert outcome("cut") == outcome("whole")
