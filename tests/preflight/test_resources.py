"""Whether a run fits into memory and on disk, and what to do where it does not."""

from __future__ import annotations

import pytest

from efface.preflight import doctor, machine
from efface.preflight.diagnosis import Forecast, Option
from efface.preflight.machine import inspect_machine
from efface.preflight.resources import disk_finding, memory_findings
from support.doctor import look, of

pytestmark = pytest.mark.usefixtures("nothing_stays", "adamw8bit_available")
ALL = "train.lora=false train.optimizer=adamw"
GIB = 2**30


def planned(**changes):
    """A forecast of 1 GiB of weights and nothing else."""
    zero = dict.fromkeys(Forecast.model_fields, 0)
    return Forecast(**zero | {"precision": "float32", "checkpointing": False, "weights": GIB} | changes)


def option(training, *, fits):
    zero = dict.fromkeys(Option.model_fields, 0)
    text = {"name": "adapters", "setting": "train.lora=true", "checkpointing": False, "chosen": False}
    return Option(**zero | text | {"training": training, "fits": fits})


@pytest.mark.parametrize(
    ("free", "level", "named"),
    [
        (2 * GIB, "ok", ["about 1 GiB in training", "2 GiB are free"]),
        (GIB / 0.7 + 1, "ok", ["about 1 GiB in training"]),
        (GIB / 0.7 - 2, "warning", ["may be too little", "train.lora=true needs about 512 MiB"]),
        (GIB, "warning", ["may be too little"]),
        (GIB - 1, "problem", ["are free; train.lora=true needs about 512 MiB"]),
    ],
)
def test_memory_of_the_device(free, level, named):
    [finding] = memory_findings(
        planned(), [option(GIB // 2, fits=True)], inspect_machine(), device_type="cpu", free=int(free)
    )
    assert (finding.about, finding.level) == ("memory", level)
    assert all(part in finding.text for part in named)


def test_no_option_fits():
    [finding] = memory_findings(
        planned(), [option(GIB // 2, fits=False)], inspect_machine(), device_type="cpu", free=1000
    )
    assert finding.text.endswith("use a machine with more memory or a smaller model")


def test_memory_of_the_host_while_loading():
    machine = inspect_machine().model_copy(update={"memory_free": 3 * GIB})
    options = [option(GIB // 2, fits=True)]
    assert len([*memory_findings(planned(loading=3 * GIB), options, machine, device_type="cpu", free=2 * GIB)]) == 1
    _, problem = memory_findings(planned(loading=4 * GIB), options, machine, device_type="cpu", free=2 * GIB)
    assert (problem.about, problem.level) == ("memory", "problem")
    assert "4 GiB of the host's memory, but only 3 GiB are free" in problem.text


def test_space_on_disk():
    machine = inspect_machine().model_copy(update={"disk_free": GIB})
    assert disk_finding(planned(saved=GIB), machine).level == "ok"
    assert disk_finding(planned(saved=GIB + 1), machine).level == "problem"


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
    assert f"which may be too little; {ALL} needs about" in tight.text
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
    assert "free some space or set --out to another disk" in of(found, "disk").text
    assert found.measured is None
