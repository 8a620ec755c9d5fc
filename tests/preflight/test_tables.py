"""What the doctor prints: a GPU, a reference and copies, times, and texts beside their names in a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from efface.preflight.diagnosis import Diagnosis, Gpu, Machine, Option
from efface.preflight.tables import _duration, _forecast_facts, print_diagnosis

MACHINE = Machine(
    versions={"torch": "2.13", "peft": None},
    processor="CPU",
    cores=4,
    threads=2,
    bf16=True,
    gpus=[Gpu(name="H100", free=70 * 2**30, total=80 * 2**30)],
    memory_free=2**30,
    memory_total=2**31,
    disk_free=2**40,
    cache="cache",
    cache_free=2**40,
    token=True,
)


def printed(show, *, terminal: bool) -> str:
    text = io.StringIO()
    show(Console(file=text, width=40, force_terminal=terminal, color_system=None))
    return text.getvalue()


def test_a_machine_with_a_gpu():
    found = Diagnosis(machine=MACHINE, findings=[])
    lines = printed(lambda console: print_diagnosis(console, found), terminal=False).splitlines()
    assert "  peft: not installed" in lines
    assert "  GPU: H100, 70 GiB of 80 GiB free, with bf16" in lines
    assert "  processor: CPU, 4 cores, 2 threads in use" in lines  # bf16 is said of the GPU
    assert "  hub token: set" in lines


def test_copies_and_a_reference_are_told_where_there_are_some(forecast):
    plain = dict(_forecast_facts(forecast(copies=0, reference=0), None))
    more = dict(_forecast_facts(forecast(copies=2**20, reference=2**21), None))
    assert more.keys() - plain.keys() == {"bf16 copies", "reference"}
    assert (more["bf16 copies"], more["reference"]) == ("1 MiB", "2 MiB")


def test_precision_and_layers_that_are_computed_again(forecast):
    facts = dict(_forecast_facts(forecast(precision="weights bf16", checkpointing=True, tokens=1200), None))
    assert facts["precision"] == "weights bf16"
    assert "1 bytes for each of 1,200 tokens at once, layers computed again" in facts["activations"]
    assert "states of the reference 2 KiB" in dict(_forecast_facts(forecast(states=2048), None))["disk"]
    assert "again" not in dict(_forecast_facts(forecast(), None))["activations"]


def test_ways_to_train_with_what_each_needs():
    sizes = {"weights": 2**30, "gradients": 2**21, "optimizer": 2**22, "activations": 2**23, "tokens": 512}
    ways = [
        Option(name="one", setting="a=b", training=2**31, fits=True, chosen=True, checkpointing=True, **sizes),
        Option(name="two", setting="c=d", training=2**32, fits=False, chosen=False, checkpointing=False, **sizes),
    ]
    found = Diagnosis(machine=MACHINE, findings=[], options=ways)
    lines = printed(lambda console: print_diagnosis(console, found), terminal=False).splitlines()
    parts = "weights 1 GiB, gradients 2 MiB, AdamW 4 MiB, activations 8 MiB of 512 tokens at once"
    assert lines[-2] == f"  one: 2 GiB, fits, chosen (a=b): {parts}, layers computed again"
    assert lines[-1] == f"  two: 4 GiB, does not fit (c=d): {parts}"


@pytest.fixture
def forecast():
    from efface.preflight.diagnosis import Forecast

    numbers = dict.fromkeys(Forecast.model_fields, 1)
    return lambda **given: Forecast(**numbers | {"precision": "float32", "checkpointing": False} | given)


@pytest.mark.parametrize(("seconds", "text"), [(3.21, "3.2 s"), (61, "1 min 1 s"), (7500, "2 h 5 min")])
def test_durations(seconds, text):
    assert _duration(seconds) == text
