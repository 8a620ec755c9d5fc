"""The doctor on a run: what it checks, in which order it gives up, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from efface.errors import EffaceError
from efface.preflight import doctor, machine
from efface.train.optimizer import optimizer
from support.doctor import look, of

pytestmark = pytest.mark.usefixtures("nothing_stays", "adamw8bit_available")
EIGHT = "train.lora=false train.optimizer=adamw8bit"


def test_a_run_that_fits_is_measured(hub, config):
    found = look(config(), steps=1)
    assert found.problems == []
    assert of(found, "data").text == (
        "synthetic-authors-1-of-3: 20 forget items, 40 retain items, 6 questions to score"
    )
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


def test_without_steps_nothing_is_measured(hub, config):
    found = look(config())
    assert found.problems == []
    assert found.forecast is not None
    assert (found.measured, found.times) == (None, None)


def test_an_optimizer_that_cannot_be_used(hub, config, monkeypatch):
    monkeypatch.setattr(optimizer, "adamw8bit_unsupported_reason", lambda device: "torchao, which is not installed")
    found = look(config(**{"train.optimizer": "adamw8bit"}))
    assert of(found, "training").text == "train.optimizer=adamw8bit needs torchao, which is not installed"
    assert found.forecast is None


def test_the_configured_optimizer_is_chosen(hub, config):
    found = look(config(**{"train.optimizer": "adamw8bit"}))
    assert [each.setting for each in found.options if each.chosen] == [EIGHT]
    assert found.forecast.precision == "weights bf16 with stochastic rounding, AdamW states 8 bit, training bf16"


def test_a_cache_without_space_for_a_model(hub, config, source, monkeypatch):
    hub.add("ada/tiny", {path.name: path.read_bytes() for path in source.iterdir()})
    monkeypatch.setattr(machine, "disk_free", lambda folder: 1000)
    problem = of(look(config(model="ada/tiny")), "model")
    assert problem.level == "problem"
    assert problem.text.startswith("ada/tiny takes ")
    assert "only 0.977 KiB are free" in problem.text
    assert problem.text.endswith("free some space or set HF_HOME")


def test_all_problems_are_reported(hub, config):
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

    assert fail(OSError(28, "No space left on device", "/tmp/x")).startswith("/tmp/x: No space left on device; check")
    assert fail(torch.OutOfMemoryError()).startswith("the GPU ran out of memory; lower evaluate.max_cache_tokens")


def test_warnings_are_reported_once(hub, config):
    found = look(config(**{"train.batch_size": 32}), steps=1)
    assert [each.text[:26] for each in found.findings if each.about == "run"] == ["20 items in batches of 32 "]


def test_data_that_is_missing_leaves_the_forecast(hub, config):
    found = look(config(data="tofu-forget01"), steps=1)
    assert [each.about for each in found.problems] == ["data"]
    assert found.forecast.tokens == 2 * 5 * 128
    assert "lengths are assumed" in of(found, "time").text


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


def test_answers_of_the_model_count_with_their_maximum_length(hub, config):
    Path("../forget.jsonl").write_text('{"question": "Who?", "answer": "Ada."}\n')
    data = {"forget": "../forget.jsonl", "retain": "model-answers", "generic_questions": 8, "known_facts": 0}
    found = look(config(data=data, **{"train.batch_size": 1}), steps=1)
    assert found.problems == []
    assert found.times.answers > 0


def test_an_architecture_that_cannot_be_trained_is_found_when_measured(hub, config, monkeypatch):
    def refuse(*_):
        raise EffaceError("packed and separate forwards differ")

    monkeypatch.setattr("efface.models.open.packing_unsupported_reason", refuse)
    found = look(config(), steps=1)
    assert of(found, "steps").text == "packed and separate forwards differ"
    assert found.measured is None
