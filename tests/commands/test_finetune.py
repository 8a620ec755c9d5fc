"""Fine-tuning makes an ordinary model that knows the answers, and survives a kill."""

from __future__ import annotations

import json

import pytest
import torch

from efface.commands import finetune as module
from efface.commands.finetune import finetune
from efface.config.commands import FinetuneConfig
from efface.config.parse import merge_settings, read_yaml, validate_config
from efface.data import load_task, load_training_set
from efface.errors import EffaceError
from efface.models.folder import model_sha256
from efface.models.load import load_model
from efface.models.tokenizer import load_tokenizer
from efface.packing.logprobs import answer_logprobs
from efface.progress.reporter import SilentReporter
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

CPU = torch.device("cpu")


class Watching(SilentReporter):
    """Remembers the stages it is told of."""

    def __init__(self):
        self.stages = []

    def on_stage(self, text):
        self.stages.append(text)


@pytest.fixture(scope="module")
def values(settings):
    """12 steps on the 30 questions of two authors."""
    kept = {key: settings[key] for key in ("model", "data", "text", "train")}
    return merge_settings(kept, {"data": {"authors": 2}, "train": {"epochs": 4, "batch_size": 12, "lr": 3e-3}})


@pytest.fixture
def config(values):
    def make(**changes):
        return validate_config(FinetuneConfig, merge_settings(values, changes))

    return make


@pytest.fixture(scope="module")
def complete(values, tmp_path_factory):
    """One complete fine-tuning; not to be changed."""
    out = tmp_path_factory.mktemp("complete") / "run"
    assert finetune(validate_config(FinetuneConfig, values), out) == out / "model"
    return out


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def outcome(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    steps = [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]
    files = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    return files | {"steps": steps}


def test_the_folder(complete, values, source):
    assert names(complete) == ["config.yaml", "manifest.json", "metrics.jsonl", "model"]
    assert {path.suffix for path in (complete / "model").iterdir()} <= {".json", ".safetensors", ".jinja"}
    assert validate_config(FinetuneConfig, read_yaml(complete / "config.yaml")) == validate_config(
        FinetuneConfig, values
    )
    made = json.loads((complete / "manifest.json").read_text())
    assert made["model_sha256"] == model_sha256(source)
    assert list(made["seconds"]) == ["finetune"]


def test_it_learns_every_answer(complete, config, source):
    items = load_training_set(config().data, data_dir=None)
    formatter = PromptFormatter(load_tokenizer(source), TextConfig(format="plain"))
    rows = formatter.encode([(item.id, item.prompt, item.answer) for item in items])

    def mean_logprobs(folder):
        model = load_model(folder, dtype=torch.float32, device=CPU)
        return [sum(each) / len(each) for each in answer_logprobs(model, rows, max_tokens_per_forward=2000)]

    before, after = mean_logprobs(source), mean_logprobs(complete / "model")
    assert len(items) > 12
    assert all(new > old + 0.5 for old, new in zip(before, after, strict=True))


def test_the_seed_decides_everything(complete, config, tmp_path):
    finetune(config(), tmp_path / "again")
    assert outcome(tmp_path / "again") == outcome(complete)
    finetune(config(seed=1), tmp_path / "other")
    assert outcome(tmp_path / "other")["model.safetensors"] != outcome(complete)["model.safetensors"]


def test_adapters_are_merged_and_written_beside(config, tmp_path):
    finetune(config(train={"lora": {"r": 2}, "epochs": 1}), tmp_path / "run")
    assert names(tmp_path / "run") == ["adapter", "config.yaml", "manifest.json", "metrics.jsonl", "model"]
    load_model(tmp_path / "run" / "model", dtype=torch.float32, device=CPU)


def test_a_model_made_without_the_forget_set_never_sees_it(config, tmp_path, monkeypatch):
    seen = []
    train = module.train

    def watched(model, objective, steps, *arguments, **settings):
        seen.extend(sequence.id for step in steps for example in step for sequence in example.values())
        return train(model, objective, steps, *arguments, **settings)

    monkeypatch.setattr(module, "train", watched)
    chosen = config(without="forget", train={"epochs": 1, "batch_size": 20})
    finetune(chosen, tmp_path / "run")
    data = chosen.data
    forget = {item.id for item in load_task(data, data_dir=None).forget}
    assert sorted(seen) == sorted({item.id for item in load_training_set(data, data_dir=None)} - forget)
    assert len(forget) == len(seen) == 20
    assert read_yaml(tmp_path / "run" / "config.yaml")["without"] == "forget"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "no where"}, "model: "),
        ({"text": {"format": "chat"}}, "the tokenizer has no chat template"),
        ({"text": {"max_length": 9}}, "the limit is 9"),
        ({"train": {"tracker": "aim"}}, "train.tracker=aim: its package is not installed"),
        ({"without": "forget05"}, "tofu"),
    ],
)
def test_refused_before_anything_is_written(config, tmp_path, monkeypatch, changes, message):
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EffaceError, match=message):
        finetune(config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_ends_in_a_sentence_and_can_be_resumed(complete, config, tmp_path, files_of_at_most):
    out = tmp_path / "run"
    with files_of_at_most(300_000), pytest.raises(EffaceError, match=r"cannot write .*step-000002 .*free some space"):
        finetune(config(), out)
    assert not list(out.rglob("*partial*"))
    assert not (out / "model").exists()
    finetune(config(), out, resume=True)
    assert outcome(out) == outcome(complete)


def test_a_complete_one_resumed_does_nothing_again(config, tmp_path, monkeypatch):
    out = tmp_path / "run"
    finetune(config(train={"epochs": 1}), out)
    whole = outcome(out)
    monkeypatch.setattr(module, "train", None)
    reporter = Watching()
    assert finetune(config(train={"epochs": 1}), out, resume=True, reporter=reporter) == out / "model"
    assert reporter.stages == [f"fine-tuned already: {out / 'model'}"]
    assert outcome(out) == whole


def test_it_ends_after_an_epoch_of_the_same_schedule(complete, config, tmp_path):
    finetune(config(train={"stop_after": 2}), tmp_path / "run")
    whole, part = ((folder / "metrics.jsonl").read_text().splitlines() for folder in (complete, tmp_path / "run"))
    assert len(part) == len(whole) // 2
    losses = [[json.loads(line)["loss"] for line in lines] for lines in (whole[: len(part)], part)]
    assert losses[0] == losses[1]
