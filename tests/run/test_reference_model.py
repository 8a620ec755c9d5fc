"""`reference`: another model than the source is what NPO, DPO and KL compare with; without it, it is the source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.models.load import load_model, load_tokenizer, model_sha256
from efface.reference.logprobs import CachedLogprobs
from efface.run import unlearning_stage
from efface.run.folder import RunFolder
from efface.run.pipeline import unlearn
from efface.run.prepare import prepare
from support.runs import Told

pytestmark = pytest.mark.usefixtures("quick_collection")
CPU = torch.device("cpu")
GOLDEN = Path(__file__).parents[1] / "golden" / "reference"


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
    assert compared[0].sequences(seen) == pytest.approx(expected, rel=1e-5)


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
