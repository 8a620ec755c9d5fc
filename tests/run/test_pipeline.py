"""A whole run: what it leaves, what it refuses, and that a kill at any moment changes nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from efface.artifacts import METRICS
from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, read_yaml, validate_config
from efface.errors import EffaceError
from efface.evaluation.evaluate import evaluate
from efface.evaluation.record_files import read_record_sets
from efface.models.folder import model_sha256
from efface.progress.reporter import SilentReporter
from efface.records import read_records
from efface.reference.logprobs import CachedLogprobs
from efface.run import evaluation_stages, unlearning_stage
from efface.run.pipeline import run, unlearn


class Watching(SilentReporter):
    """Remembers the stages it is told of; dies after a step, as the process would."""

    def __init__(self, dies_after=None):
        self.stages = []
        self.warnings = []
        self.dies_after = dies_after

    def on_stage(self, text):
        self.stages.append(text)

    def on_warning(self, text):
        self.warnings.append(text)

    def on_step(self, log):
        if log.step == self.dies_after:
            raise KeyboardInterrupt


@pytest.fixture
def config(settings):
    """The settings of a run, with some changed."""

    def make(**changes):
        return validate_config(RunConfig, merge_settings(settings, changes))

    return make


def steps(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def outcome(folder):
    """Everything that a run is for, byte by byte where it is a file of numbers."""
    files = [
        *folder.glob("model/*.*"),
        *folder.glob("adapter/*.*"),
        *folder.glob("records/*/*"),
        folder / "results.json",
    ]
    kept = {str(path.relative_to(folder)): path.read_bytes() for path in files if path.suffix != ".md"}
    return kept | {"steps": steps(folder)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def weights_in(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


# What a run leaves


@pytest.fixture(scope="module")
def complete(settings, tmp_path_factory):
    """One complete run; not to be changed."""
    out = tmp_path_factory.mktemp("complete") / "run"
    reporter = Watching()
    results = run(validate_config(RunConfig, settings), out, reporter=reporter)
    return out, results, reporter


def test_the_folder(complete):
    out, _, _ = complete
    assert names(out) == ["config.yaml", "manifest.json", "metrics.jsonl", "model", "records", "results.json"]
    assert names(out / "records") == ["after", "before"]
    assert names(out / "records" / "after") == ["forget.jsonl", "retain.jsonl"]
    assert {path.suffix for path in (out / "model").iterdir()} <= {".json", ".safetensors", ".md", ".jinja"}
    assert "README.md" in names(out / "model")


def test_results_json_is_as_promised(complete):
    out, results, _ = complete
    found = json.loads((out / "results.json").read_text())
    assert found == results.to_json()
    assert list(found) == ["schema", "definition", "method", "before", "after", "verdict"]
    assert (found["schema"], found["definition"], found["method"]) == (1, "closer-look", "me+gd")
    assert found["verdict"]["forget"]["leaks"]["n"] == found["verdict"]["answers_after"]["forget"]["n"] == 3
    aggregates = ["model_utility", "model_utility_retain", "forget_efficacy"]
    for scores in (found["before"], found["after"]):
        assert list(scores) == [*aggregates, "partial", "missing", "embedder", "judge", "sets"]
        assert list(scores["partial"]) == [*aggregates, "metrics"]
        assert (scores["embedder"], scores["judge"]) == (None, "key-facts")
        assert "switched off by evaluate.embedder=none" in scores["missing"]["cosine_similarity"]
        assert set(scores["sets"]) == {"forget", "retain"}
        for each in scores["sets"].values():
            assert list(each) == ["n", *METRICS, "extraction_strength"]
            assert each["n"] == 3
            assert each["cosine_similarity"] is None
            assert all(0 <= each[metric] <= 1 for metric in METRICS if metric != "cosine_similarity")


def test_config_and_manifest(complete, settings):
    out, _, _ = complete
    assert validate_config(RunConfig, read_yaml(out / "config.yaml")) == validate_config(RunConfig, settings)
    made = json.loads((out / "manifest.json").read_text())
    assert made["seed"] == 0
    assert made["model"] == settings["model"]
    assert made["model_sha256"] == model_sha256(Path(settings["model"]))
    assert [len(digest) for digest in made["data"].values()] == [64]
    assert made["precision"] == "weights and optimizer float32, training float32, evaluation float32"
    assert list(made["seconds"]) == ["evaluate before", "unlearn", "evaluate after"]
    assert made["notes"] == []


def test_metrics_and_stages(complete):
    out, _, reporter = complete
    assert [line["step"] for line in steps(out)] == list(range(1, 9))
    assert [line["lr"] for line in steps(out)] == pytest.approx([1e-3 * (8 - n) / 8 for n in range(8)])
    assert reporter.stages == [
        "evaluating before unlearning",
        "unlearning with me+gd",
        "evaluating after unlearning",
    ]
    assert reporter.warnings == ["cosine_similarity will be missing: switched off by evaluate.embedder=none"]


def test_records_after_are_of_the_model_on_disk_and_know_the_outputs_before(complete):
    out, _, _ = complete
    before, after = (read_record_sets(out / "records" / stage) for stage in ("before", "after"))
    assert [record.id for record in before["forget"]] == [record.id for record in after["forget"]]
    assert before["forget"][0].answer_logprobs != after["forget"][0].answer_logprobs
    assert {record.set for record in read_records(out / "records" / "after" / "retain.jsonl")} == {"retain"}


def test_a_complete_run_resumed_does_nothing_again(complete, config, monkeypatch):
    out, results, _ = complete
    whole, seconds = outcome(out), json.loads((out / "manifest.json").read_text())["seconds"]
    monkeypatch.setattr(evaluation_stages, "evaluate", None)
    monkeypatch.setattr(unlearning_stage, "train", None)
    reporter = Watching()
    assert run(config(), out, resume=True, reporter=reporter) == results
    assert outcome(out) == whole
    assert [stage.split(" already: ")[0] for stage in reporter.stages] == [
        "evaluated before unlearning",
        "unlearned",
        "evaluated after unlearning",
    ]
    made = json.loads((out / "manifest.json").read_text())
    assert made["seconds"] == seconds
    assert [note.split()[0] for note in made["notes"]] == ["resumed"]


# Refused before anything is written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "nowhere/at/all"}, "model: 'nowhere/at/all' is neither a folder nor a possible hub name"),
        ({"text": {"format": "chat"}}, "the tokenizer has no chat template"),
        ({"text": {"max_length": 9}}, "the limit is 9"),
        ({"evaluate": {"max_new_tokens": 600}}, "evaluate.max_new_tokens=600 exceed the model's 512 positions"),
        ({"evaluate": {"embedder": "nobody/nothing"}}, "evaluate.embedder=nobody/nothing"),
        ({"train": {"tracker": "aim"}}, "train.tracker=aim: its package is not installed"),
        ({"data": {"authors": 400}}, "cannot make 400 authors.*data.authors"),
    ],
)
def test_refused_before_anything_is_written(config, tmp_path, changes, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EffaceError, match=message) as raised:
        run(config(**changes), tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_resuming_with_another_model_of_that_name_is_refused(config, tmp_path, source, model_in):
    model = model_in(torch.float32)
    with pytest.raises(KeyboardInterrupt):
        run(config(model=str(model)), tmp_path / "run", reporter=Watching(dies_after=3))
    changed = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        changed.lm_head.weight.add_(1)
    changed.save_pretrained(model)
    with pytest.raises(EffaceError, match=r"--resume: model .* has changed since the run started; start over"):
        run(config(model=str(model)), tmp_path / "run", resume=True)


# The model before unlearning


@pytest.mark.parametrize(
    ("changes", "beside_training"),
    [
        ({"method": "me+gd"}, []),
        ({"method": "dpo+gd"}, []),
        ({"method": "npo+kl"}, []),
        ({"method": "npo+kl", "train": {"kl_reference": "live"}}, [("float32", 1)]),
        ({"method": "npo+kl", "train": {"lora": {"r": 2}}}, []),
    ],
    ids=["no reference", "log-probs", "hidden states", "a model", "the adapter switched off"],
)
def test_only_a_live_kl_keeps_a_second_model(config, tmp_path, loads, changes, beside_training):
    """Loaded once to check and evaluate, once to train; the unlearned one as it lies on disk."""
    short = merge_settings({"train": {"epochs": 1, "batch_size": 20}}, changes)
    run(config(**short), tmp_path / "run")
    assert loads == [("float32", 0), ("float32", 0), *beside_training, ("model", 0)]


def test_records_made_before_are_not_made_again(complete, config, tmp_path, monkeypatch):
    before = read_record_sets(complete[0] / "records" / "before")
    evaluated = []
    monkeypatch.setattr(evaluation_stages, "evaluate", lambda *a, **k: (evaluated.append(1), evaluate(*a, **k))[1])
    run(config(), tmp_path / "run", before=before)
    assert len(evaluated) == 1
    assert outcome(tmp_path / "run") == outcome(complete[0])


@pytest.mark.parametrize("lora", [None, {"r": 2, "dropout": 0.5}], ids=["full", "lora"])
def test_the_first_step_compares_with_the_model_before_unlearning(config, tmp_path, lora):
    """There nothing is learned yet: NPO is 2/beta log 2, DPO likewise, and the KL is zero."""
    train = {"lora": lora, "epochs": 1, "batch_size": 10}
    run(config(method="npo+kl", train=train), tmp_path / "run")
    first, second = steps(tmp_path / "run")
    assert first["forget"] == pytest.approx(2 / 0.1 * math.log(2), abs=1e-4)
    assert first["retain"] == pytest.approx(0, abs=1e-6)
    assert second["forget"] != pytest.approx(first["forget"], abs=1e-4)
    assert second["retain"] > 1e-6


def test_the_reference_is_computed_in_the_precision_of_training(config, tmp_path):
    """In float32 it would differ from the model's own bf16 log-probs before anything is learned."""
    run(config(method="npo+gd", train={"precision": "bf16", "epochs": 1, "batch_size": 20}), tmp_path / "run")
    [first] = steps(tmp_path / "run")
    assert first["forget"] == pytest.approx(2 / 0.1 * math.log(2), abs=1e-3)


def test_the_reference_is_never_computed_from_trained_weights(config, tmp_path, monkeypatch):
    """Even where its file is lost, a resumed run computes it before it loads a checkpoint."""
    chosen = config(method="npo+gd", train={"save_steps": 1})
    run(chosen, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(chosen, tmp_path / "cut", reporter=Watching(dies_after=4))
    reference = tmp_path / "cut" / "checkpoints" / "reference.json"
    kept = reference.read_bytes()
    reference.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(chosen, tmp_path / "cut", resume=True, reporter=Watching(dies_after=6))
    assert reference.read_bytes() == kept
    monkeypatch.setattr(CachedLogprobs, "compute", None)  # where the file is there, it is read
    run(chosen, tmp_path / "cut", resume=True)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


# Seed and precision


def test_another_seed_trains_another_model(complete, config, tmp_path):
    """With the same seed everything is the same: `test_a_full_disk_...` starts over after each error."""
    run(config(seed=1), tmp_path / "other")
    other, first = weights_in(tmp_path / "other" / "model"), weights_in(complete[0] / "model")
    assert any(not torch.equal(other[name], first[name]) for name in first)


def test_a_bf16_model_is_trained_in_float32_and_saved_in_bf16(config, tmp_path, model_in, monkeypatch):
    """At lr 1e-5 a bf16 weight near 0.1 would not move at all."""
    trained = []
    save = unlearning_stage.save_trained

    def watched(parallel, *arguments, **settings):
        trained.append({name: p.detach().clone() for name, p in parallel.model.named_parameters()})
        return save(parallel, *arguments, **settings)

    monkeypatch.setattr(unlearning_stage, "save_trained", watched)
    source = model_in(torch.bfloat16)
    run(config(model=str(source), train={"lr": 1e-5}), tmp_path / "run")
    [after], before, saved = trained, weights_in(source), weights_in(tmp_path / "run" / "model")
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}
    name = "model.layers.0.mlp.up_proj.weight"
    moved = (after[name] - before[name].float()).abs()
    assert 0 < moved.max() < 1e-4
    assert (moved > 0).float().mean() > 0.9
    assert torch.equal(saved[name], after[name].bfloat16())


# What goes wrong on the way


def test_divergence_keeps_the_last_checkpoint_and_no_model(config, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(EffaceError, match=r"step 2 of 8: me\+gd is not finite .* lower train.lr, or .*: author/00"):
        run(config(train={"lr": 1e25, "save_steps": 1}), out)
    assert names(out) == ["config.yaml", "manifest.json", "metrics.jsonl", "records"]
    assert [line["step"] for line in steps(out)] == [1]


@pytest.mark.parametrize(
    ("size", "file"),
    [(100, "config.yaml"), (3000, "evaluating/before/00000.jsonl"), (300_000, "step-000002")],
)
def test_a_full_disk_ends_in_a_sentence_and_no_half_file(complete, config, tmp_path, files_of_at_most, size, file):
    out = tmp_path / "run"
    with (
        files_of_at_most(size),
        pytest.raises(EffaceError, match=f"cannot write .*{file}.*; free some space") as raised,
    ):
        run(config(), out)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.rglob("*partial*"))
    assert not (out / "model").exists()
    run(config(), out, resume=True)  # once there is space again
    assert outcome(out) == outcome(complete[0])


# Without evaluation


def test_unlearning_alone_leaves_the_model_of_a_run_and_no_scores(complete, settings, tmp_path):
    config = validate_config(RunConfig, settings)
    model = unlearn(config, tmp_path / "alone")
    assert sorted(path.name for path in model.parent.iterdir()) == [
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "model",
    ]
    weights = "model.safetensors"
    assert (model / weights).read_bytes() == (complete[0] / "model" / weights).read_bytes()
    assert "This model was not evaluated." in (model / "README.md").read_text()
    assert unlearn(config, tmp_path / "alone", resume=True) == model
