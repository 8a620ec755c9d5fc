"""A manifest says what made a run, and a resumed run is of one piece."""

from __future__ import annotations

import platform
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import efface
from efface.errors import EffaceError
from efface.objectives.config import FORGET, LLMU, RETAIN
from efface.run.metadata.manifest import make_manifest, method_pages, precision, resume_manifest, training_precision
from efface.train.config import LoRAConfig, TrainConfig
from support.messages import assert_names
from support.runs import Told

CPU = torch.device("cpu")


def new(**values):
    settings = {
        "seed": 5,
        "device": CPU,
        "precision": "float32",
        "data": {"a.json": "1" * 64},
        "model": "some/model",
        "model_sha256": "b" * 64,
    }
    return make_manifest(**settings | values)


def test_what_made_a_run(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["efface", "run", "demo"])
    made = new()
    assert (made.efface, made.seed, made.command) == (efface.__version__, 5, ["efface", "run", "demo"])
    assert (made.data, made.model, made.model_sha256) == ({"a.json": "1" * 64}, "some/model", "b" * 64)
    assert made.versions["python"] == platform.python_version()
    assert made.versions["torch"] == torch.__version__
    assert made.versions["transformers"] == version("transformers")
    assert made.device.startswith("cpu (")
    assert datetime.fromisoformat(made.started).utcoffset().total_seconds() == 0
    assert (made.seconds, made.notes) == ({}, [])


def test_what_reviews_of_reproducibility_ask_for():
    made = new(method="me+gd", splits={"forget": 3, "retain": 4})
    assert made.splits == {"forget": 3, "retain": 4}
    assert made.method_pages == ["docs/methods/me.md", "docs/methods/gd.md"]
    hardware = made.hardware
    assert (hardware.threads, hardware.cuda) == (torch.get_num_threads(), torch.version.cuda)
    assert len(hardware.gpus) == len(hardware.gpu_memory_bytes) == torch.cuda.device_count()
    assert hardware.processor
    assert hardware.memory_bytes > 1 << 28
    assert platform.node() not in hardware.model_dump_json()


def test_every_built_in_method_has_a_page():
    root = Path(__file__).parents[3]
    for name in (*FORGET, *RETAIN, LLMU):
        [page] = method_pages(name)
        assert (root / page).is_file()
    assert method_pages("mine+gd") == ["docs/methods/gd.md"]
    assert method_pages(None) == []


@pytest.mark.parametrize(
    ("precision", "device", "words"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "cuda", "bf16 autocast"),
        ("float32", "cuda", "float32"),
        ("bf16", "cpu", "bf16 autocast"),
    ],
)
def test_training_precision(precision, device, words):
    assert training_precision(TrainConfig(precision=precision), torch.device(device)) == words


@pytest.mark.parametrize(
    ("train", "device", "words"),
    [
        (TrainConfig(), "cpu", "weights and optimizer float32, training float32"),
        (TrainConfig(), "cuda", "weights and optimizer float32, training bf16 autocast"),
        (TrainConfig(autocast=False), "cuda", "weights and optimizer float32, training bf16"),
        (
            TrainConfig(optimizer="adamw8bit"),
            "cuda",
            "weights bf16 with stochastic rounding, AdamW states 8 bit, training bf16",
        ),
        (TrainConfig(lora=LoRAConfig()), "cpu", "adapters and optimizer float32, training float32"),
        (TrainConfig(lora=LoRAConfig()), "cuda", "adapters and optimizer float32, base bf16, training bf16"),
        (
            TrainConfig(lora=LoRAConfig(bits=4)),
            "cuda",
            "adapters and optimizer float32, training bf16 autocast on a base in 4 bits",
        ),
    ],
)
def test_precision_of_all_that_training_keeps(train, device, words):
    assert precision(train, torch.device(device)) == words


def test_a_resumed_run_keeps_its_start_and_says_what_changed(made):
    now = made.model_copy(update={"started": "2026-02-02", "versions": {"python": "3.11.1", "torch": "2.13.0"}})
    told = Told()
    new_command = now.model_copy(update={"seconds": {}, "command": ["efface", "run", "--resume"]})
    joined = resume_manifest(made, new_command, reporter=told)
    assert (joined.started, joined.seconds) == (made.started, made.seconds)
    assert joined.versions["torch"] == "2.13.0"
    assert joined.command == ["efface", "run", "--resume"]
    assert joined.notes == ["resumed 2026-02-02, torch was 2.10.0"]
    [warning] = told.warnings
    assert_names(warning, "torch was 2.10.0 and is 2.13.0")
    again = resume_manifest(joined, now.model_copy(update={"started": "2026-03-03"}), reporter=told)
    assert again.notes == [*joined.notes, "resumed 2026-03-03"]
    assert told.warnings == [warning]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_sha256": "c" * 64}, "--resume: model some/model has changed since the run started; start over"),
        ({"tokenizer": "base", "tokenizer_sha256": "c" * 64}, "--resume: tokenizer base has changed since the run"),
        (
            {"data": {"forget01.json": "c" * 64}},
            "--resume: forget01.json has changed since the run started; start over",
        ),
    ],
)
def test_another_model_or_other_data_cannot_go_on(made, change, message):
    with pytest.raises(EffaceError, match=message):
        resume_manifest(made, made.model_copy(update=change), reporter=Told())
