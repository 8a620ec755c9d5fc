"""The doctor: what it finds of a machine and of a run, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3MoeConfig

from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.models import auto_optimizer
from efface.preflight import doctor, machine, measure
from efface.preflight.diagnosis import Diagnosis, Finding
from efface.preflight.doctor import examine, examine_run
from efface.progress.reporter import SilentReporter
from efface.train import optimizer

GIB = 2**30


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path, monkeypatch):
    """No test writes anything, to the working directory or beside temporary files; benchmarks are not here."""
    place, temporary = tmp_path / "place", tmp_path / "temporary"
    for folder in (place, temporary):
        folder.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    assert [*place.iterdir(), *temporary.iterdir()] == []


@pytest.fixture
def config(settings):
    """A run's settings, with some changed: `config(**{"train.lora": {}})`."""

    def make(**changed: Any) -> RunConfig:
        values = json.loads(json.dumps(settings))
        for key, value in changed.items():
            *groups, name = key.split(".")
            group = values
            for each in groups:
                group = group.setdefault(each, {})
            group[name] = value
        return validate_config(RunConfig, values)

    return make


def look(config: RunConfig, steps: int = 0, data_dir: Path | None = None) -> Diagnosis:
    return examine_run(config, data_dir=data_dir, steps=steps, reporter=SilentReporter())


def of(found: Diagnosis, about: str) -> Finding:
    (finding,) = (each for each in found.findings if each.about == about)
    return finding


# The machine alone


def test_a_machine_without_the_hub(hub, monkeypatch):
    hub.broken = True
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = examine(None)
    assert found.problems == []
    assert of(found, "hub").level == "warning"
    assert "HTTP 503" in of(found, "hub").text
    assert "fetch it with: efface data fetch tofu" in of(found, "tofu").text
    assert "cosine_similarity will be missing" in of(found, "embedder").text
    assert "evaluate.judge to key-facts" in of(found, "judge").text
    assert found.machine.token
    assert "hf_secret" not in found.model_dump_json()
    assert found.machine.versions["torch"].startswith("2.")
    assert 0 < found.machine.memory_free <= found.machine.memory_total


def test_a_machine_with_the_hub(hub):
    for name in ("sentence-transformers/paraphrase-MiniLM-L6-v2", "sileod/deberta-v3-base-tasksource-nli"):
        hub.add(name, {"config.json": b"{}", "model.safetensors": b"x"})
    found = examine(None)
    assert [of(found, about).level for about in ("hub", "embedder", "judge")] == ["ok"] * 3
    assert "comes from the hub when first used" in of(found, "judge").text
    assert not found.machine.token


def test_benchmarks_where_they_lie(hub, shared):
    found = examine(shared / "data")
    assert of(found, "tofu").level == "ok"
    assert str(shared / "data") in of(found, "tofu").text


def test_what_is_not_installed(hub, monkeypatch):
    def version(package):
        if package == "bitsandbytes":
            raise machine.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(machine, "version", version)
    found = examine(None)
    assert of(found, "bitsandbytes").text.endswith("pip install 'efface[quantized]'")
    assert found.machine.versions["bitsandbytes"] is None
    assert found.machine.versions["peft"] == "1.0"


# A run


def test_a_run_that_fits_is_measured(hub, config):
    found = look(config(), steps=1)
    assert found.problems == []
    assert of(found, "data").text == "synthetic-authors-1-of-3: 20 to forget, 40 to keep, 6 questions to score"
    assert of(found, "model").level == of(found, "memory").level == of(found, "disk").level == "ok"
    assert found.forecast.parameters == 90_864
    assert found.forecast.checkpoints == 2
    measured, times = found.measured, found.times
    assert measured.steps.count == 1
    assert min(measured.steps.tokens_per_second, measured.steps.first, measured.questions.tokens_per_second) > 0
    assert times.total == pytest.approx(times.unlearning + 2 * times.evaluation)
    assert times.answers == 0


def test_a_short_run_is_not_measured_for_longer_than_it_takes(hub, config):
    found = look(config(**{"train.epochs": 1, "train.batch_size": 7}), steps=5)
    assert found.measured.steps.count == 1  # it has two


def test_nothing_is_measured_unless_asked(hub, config):
    found = look(config())
    assert found.problems == []
    assert found.forecast is not None
    assert (found.measured, found.times) == (None, None)


ALL, EIGHT = "train.lora=false train.optimizer=adamw", "train.lora=false train.optimizer=adamw8bit"


@pytest.fixture(autouse=True)
def everything_is_installed(monkeypatch):
    for module in (doctor, auto_optimizer, optimizer):
        monkeypatch.setattr(module, "adamw8bit_unsupported_reason", lambda device: None)


def test_ways_to_train(hub, config):
    found = look(config(**{"train.lora": {"r": 4, "bits": 4}}))
    assert [each.setting for each in found.options] == [ALL, EIGHT, "train.lora=true", "train.lora.bits=4"]
    whole, small, adapters, rounded = found.options
    assert rounded.training == found.forecast.training
    assert [each.chosen for each in found.options] == [False, False, False, True]
    assert all(each.fits for each in found.options)
    assert (small.weights, small.gradients) == (whole.weights / 2, whole.gradients / 2)
    assert small.optimizer < 0.4 * whole.optimizer  # some tensors are too small for 8 bits
    assert small.activations == whole.activations / 2
    assert adapters.gradients < 0.2 * whole.gradients
    assert adapters.training - adapters.weights - adapters.gradients - adapters.optimizer >= adapters.activations


def test_ways_that_are_not_to_be_had(hub, config, monkeypatch):
    assert EIGHT not in [each.setting for each in look(config(**{"train.precision": "float32"})).options]
    monkeypatch.setattr(doctor, "adamw8bit_unsupported_reason", lambda device: "torchao")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert [each.setting for each in look(config()).options] == [ALL]


def test_an_optimizer_that_is_not_to_be_had(hub, config, monkeypatch):
    monkeypatch.setattr(optimizer, "adamw8bit_unsupported_reason", lambda device: "torchao, which is not installed")
    found = look(config(**{"train.optimizer": "adamw8bit"}))
    assert of(found, "training").text == "train.optimizer=adamw8bit needs torchao, which is not installed"
    assert found.forecast is None


def test_what_was_asked_for_by_name_is_chosen(hub, config):
    found = look(config(**{"train.optimizer": "adamw8bit"}))
    assert [each.setting for each in found.options if each.chosen] == [EIGHT]
    assert found.forecast.precision == "weights bf16 with stochastic rounding, AdamW states 8 bit, training bf16"


def test_a_run_that_does_not_fit(hub, config, monkeypatch):
    small = {
        "train.max_tokens_per_forward": 600,
        "evaluate.limit": 1,
        "evaluate.max_tokens_per_forward": 32,
        "train.precision": "float32",
    }
    small["train.gradient_checkpointing"] = False
    full, adapters, _ = look(config(**small)).options
    assert adapters.training > full.training  # of so small a model, adapters keep more than they save
    monkeypatch.setattr(doctor, "free_memory", lambda device: full.training + 1)
    tight = of(look(config(**small)), "memory")
    assert tight.level == "warning"
    assert f"which may be too tight; {ALL} needs about" in tight.text
    adapted = look(config(**small, **{"train.lora": {}}), steps=1)
    assert f"are free; {ALL} needs about" in of(adapted, "memory").text
    assert adapted.problems == [of(adapted, "memory")]
    assert [each.fits for each in adapted.options] == [True, False, False]
    assert adapted.measured is None
    monkeypatch.setattr(doctor, "free_memory", lambda device: 1000)
    assert "use a machine with more memory or a smaller model" in of(look(config()), "memory").text


def test_an_evaluation_that_does_not_fit(hub, config, monkeypatch):
    planned = look(config(**{"train.max_tokens_per_forward": 64})).forecast
    assert planned.evaluation > planned.training
    monkeypatch.setattr(doctor, "free_memory", lambda device: planned.training)
    found = look(config(**{"train.max_tokens_per_forward": 64}))
    assert found.problems == [of(found, "memory")]
    assert "lower evaluate.max_cache_tokens and evaluate.max_tokens_per_forward" in of(found, "memory").text


def test_a_full_disk(hub, config, monkeypatch):
    monkeypatch.setattr(machine, "disk_free", lambda folder: 1000)
    found = look(config(), steps=1)
    assert found.problems == [of(found, "disk")]
    assert "free some space or have --out on another disk" in of(found, "disk").text
    assert found.measured is None


def test_memory_of_the_host_that_weights_pass_through(hub, config, monkeypatch):
    forecast = doctor.forecast
    monkeypatch.setattr(doctor, "forecast", lambda *a, **k: forecast(*a, **k).model_copy(update={"loading": 2**50}))
    problem = [each.text for each in look(config()).problems]
    assert len(problem) == 1
    assert problem[0].startswith("its weights go through 1.02e+03 TiB of the host's memory, of which ")
    assert problem[0].endswith("are free; close other programs or use a machine with more")


def test_a_cache_without_room_for_a_model(hub, config, source, monkeypatch):
    hub.add("ada/tiny", {path.name: path.read_bytes() for path in source.iterdir()})
    monkeypatch.setattr(machine, "disk_free", lambda folder: 1000)
    problem = of(look(config(model="ada/tiny")), "model")
    assert problem.level == "problem"
    assert problem.text.startswith("ada/tiny takes ")
    assert problem.text.endswith("has 0.977 KiB free; free some space or set HF_HOME")


def test_an_embedder_that_is_not_installed_and_a_judge_out_of_reach(hub, config, monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    hub.broken = True
    found = look(config(**{"evaluate.embedder": "offline", "evaluate.judge": "ada/judge"}))
    assert of(found, "embedder").text == "evaluate.embedder=offline is not installed; pip install 'efface[offline]'"
    assert of(found, "judge").text == (
        "evaluate.judge=ada/judge: ada/judge is not here, and the hub cannot be reached; give another one, or none"
    )
    assert {each.about for each in found.problems} == {"embedder", "judge"}


def test_several_things_that_stop_a_run_are_all_told(hub, config):
    found = look(config(model="./nowhere", **{"data": "tofu-forget01", "evaluate.judge": "./no-judge"}), steps=1)
    problems = {each.about: each.text for each in found.problems}
    assert set(problems) == {"model", "data", "judge"}
    assert problems["model"] == "there is no folder ./nowhere; give the folder of a model as model=FOLDER"
    assert "efface data fetch tofu" in problems["data"]
    assert "evaluate.judge=./no-judge: there is no folder ./no-judge" in problems["judge"]
    assert found.forecast is None


def test_a_method_without_its_data_and_a_format_without_its_template(hub, config):
    Path("../forget.jsonl").write_text('{"question": "Who?", "answer": "Ada."}\n')
    alone = look(config(data={"forget": "../forget.jsonl"}))
    assert "needs a retain set" in of(alone, "text").text
    assert alone.forecast is not None
    assert of(look(config(**{"text.format": "chat"})), "text").level == "problem"


def test_outputs_that_are_too_long_for_the_model(hub, config):
    found = look(config(**{"evaluate.max_new_tokens": 500}))
    assert "exceed the model's 512 positions; set evaluate.max_new_tokens to" in of(found, "text").text


def test_what_libraries_raise_becomes_a_finding(hub, config, monkeypatch):
    def fail(error):
        def raising(*_, **__):
            raise error

        monkeypatch.setattr(doctor, "measure", raising)
        return of(look(config(), steps=1), "steps").text

    assert fail(OSError(28, "No space left on device", "/tmp/x")).startswith("/tmp/x: No space left on device; look")
    assert fail(torch.OutOfMemoryError()).startswith("the GPU's memory ran out; lower evaluate.max_cache_tokens")


def test_warnings_of_a_run_are_told_once(hub, config):
    found = look(config(**{"train.batch_size": 32}), steps=1)
    assert [each.text[:30] for each in found.findings if each.about == "run"] == ["20 items in batches of 32 make"]


def test_data_that_are_not_here_leave_the_forecast(hub, config):
    found = look(config(data="tofu-forget01"), steps=1)
    assert [each.about for each in found.problems] == ["data"]
    assert found.forecast.tokens == 2 * 5 * 128
    assert "lengths are supposed" in of(found, "time").text


def test_a_model_on_the_hub_is_not_downloaded(hub, config, source, tmp_path):
    hub.add("ada/tiny", {path.name: path.read_bytes() for path in source.iterdir()})
    found = look(config(model="ada/tiny"), steps=1)
    assert found.problems == []
    assert "ada/tiny is on the hub; a run will download" in of(found, "model").text
    assert found.forecast.parameters == 90_864
    assert found.measured is None
    assert not any("safetensors" in request for request in hub.requests)
    assert not (tmp_path / "hub-cache").exists()
    hub.broken = True
    assert "the hub cannot be reached (HTTP 503)" in of(look(config(model="ada/tiny")), "model").text


def test_a_gated_model(hub, config):
    hub.add("ada/gated", {"config.json": b"{}"}, gated=True)
    assert "ada/gated is gated" in of(look(config(model="ada/gated")), "model").text


def test_own_answers_are_counted_in_full(hub, config):
    Path("../forget.jsonl").write_text('{"question": "Who?", "answer": "Ada."}\n')
    data = {"forget": "../forget.jsonl", "retain": "model-answers", "generic_questions": 8}
    found = look(config(data=data, **{"train.batch_size": 1}), steps=1)
    assert found.problems == []
    assert found.times.answers > 0


def test_experts_are_not_offered_in_four_bits(hub, config, source, tmp_path):
    folder = tmp_path / "experts"
    shape = Qwen3MoeConfig(
        vocab_size=512,
        hidden_size=16,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_experts=4,
        num_experts_per_tok=2,
    )
    shape.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (folder / name).symlink_to(source / name)
    found = look(config(model=str(folder)))
    assert [each.setting for each in found.options] == [ALL, EIGHT, "train.lora=true"]


def test_an_architecture_that_cannot_be_trained_is_found_when_measured(hub, config, monkeypatch):
    def refuse(*_):
        raise doctor.EffaceError("packed and separate forwards differ")

    monkeypatch.setattr("efface.models.open.packing_unsupported_reason", refuse)
    found = look(config(), steps=1)
    assert of(found, "steps").text == "packed and separate forwards differ"
    assert found.measured is None


def test_the_largest_batches_are_measured():
    steps = [[{"retain": [0] * size}] for size in (3, 9, 5)]
    chosen = measure._heaviest(steps, 4)
    assert [len(step[0]["retain"]) for step in chosen] == [9, 5, 3, 9]


@pytest.mark.parametrize(("half", "told"), [(0.01, True), (0.018, False)])
def test_a_processor_that_is_faster_in_bf16(hub, config, monkeypatch, half, told):
    monkeypatch.setattr(machine, "_has_bf16", lambda: True)
    seconds = {torch.float32: 0.02, torch.bfloat16: half}
    monkeypatch.setattr(machine, "_seconds_of_product", seconds.__getitem__)
    found = [finding.text for finding in look(config()).findings if finding.about == "precision"]
    assert [text.partition(":")[0] for text in found] == (
        ["this processor multiplies 2.0 times as fast in bf16"] if told else []
    )
    assert not any(finding.about == "precision" for finding in look(config(**{"train.precision": "bf16"})).findings)
