"""What the doctor prints: machine, forecast, training options and durations."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from efface.preflight.diagnosis import (
    Diagnosis,
    Finding,
    Forecast,
    Gpu,
    Machine,
    MeasuredCosts,
    MeasuredQuestions,
    MeasuredSteps,
    Option,
    Times,
)
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
    assert "  processor: CPU, 4 cores, 2 threads in use" in lines  # bf16 is shown with the GPU
    assert "  hub token: set" in lines


def test_copies_and_a_reference_are_shown_where_there_are_some(forecast):
    plain = dict(_forecast_facts(forecast(copies=0, reference=0), None))
    more = dict(_forecast_facts(forecast(copies=2**20, reference=2**21), None))
    assert more.keys() - plain.keys() == {"bf16 copies", "reference"}
    assert (more["bf16 copies"], more["reference"]) == ("1 MiB", "2 MiB")


def test_precision_and_recomputed_layers(forecast):
    facts = dict(_forecast_facts(forecast(precision="weights bf16", checkpointing=True, tokens=1200), None))
    assert facts["precision"] == "weights bf16"
    assert "1 bytes for each of 1,200 tokens per forward, layers recomputed" in facts["activations"]
    assert "hidden states of the reference 2 KiB" in dict(_forecast_facts(forecast(states=2048), None))["disk"]
    assert "recomputed" not in dict(_forecast_facts(forecast(), None))["activations"]


def test_training_options_with_what_each_needs():
    sizes = {"weights": 2**30, "gradients": 2**21, "optimizer": 2**22, "activations": 2**23, "tokens": 512}
    options = [
        Option(name="one", setting="a=b", training=2**31, fits=True, chosen=True, checkpointing=True, **sizes),
        Option(name="two", setting="c=d", training=2**32, fits=False, chosen=False, checkpointing=False, **sizes),
    ]
    found = Diagnosis(machine=MACHINE, findings=[], options=options)
    lines = printed(lambda console: print_diagnosis(console, found), terminal=False).splitlines()
    parts = "weights 1 GiB, gradients 2 MiB, AdamW 4 MiB, activations 8 MiB of 512 tokens per forward"
    assert lines[:2] == ["This run", "  fits: yes, about 2 GiB in training (one)"]
    assert lines[-2] == f"  one: 2 GiB, fits, chosen (a=b): {parts}, layers recomputed"
    assert lines[-1] == f"  two: 4 GiB, does not fit (c=d): {parts}"


def test_a_run_that_cannot_start_says_so_first():
    finding = Finding(level="problem", about="data", text="there is no data")
    lines = printed(
        lambda console: print_diagnosis(console, Diagnosis(machine=MACHINE, findings=[finding])), terminal=False
    ).splitlines()
    assert lines[:2] == ["This run", "  starts: no: there is no data"]


@pytest.fixture
def forecast():
    numbers = dict.fromkeys(Forecast.model_fields, 1)
    return lambda **given: Forecast(**numbers | {"precision": "float32", "checkpointing": False} | given)


@pytest.mark.parametrize(("seconds", "text"), [(3.21, "3.2 s"), (61, "1 min 1 s"), (7500, "2 h 5 min")])
def test_durations(seconds, text):
    assert _duration(seconds) == text


def test_measured_memory_and_times(forecast):
    questions = MeasuredQuestions(
        tokens_per_second=1.0, decoding=1.0, decoding_row=1.0, padded=True, max_cache_tokens=1
    )
    steps = MeasuredSteps(loading=1.0, first=3.0, count=2, tokens_per_second=1234.5, memory=2**21)
    found = Diagnosis(
        machine=MACHINE,
        findings=[],
        forecast=forecast(),
        measured=MeasuredCosts(questions=questions, steps=steps),
        times=Times(answers=0.0, unlearning=90.0, evaluation=30.0),
    )
    lines = printed(lambda console: print_diagnosis(console, found), terminal=False).splitlines()
    assert any(line.startswith("  in training: about") and line.endswith("measured 2 MiB") for line in lines)
    assert lines[:2] == ["This run", "  takes: at most 2 min 30 s"]
    assert "Time, from 2 steps" in lines
    assert "  unlearning: about 1 min 30 s (1,234 tokens/s; the first step took 3 s)" in lines
    assert lines[-1] == "  total: at most 2 min 30 s"
    assert not any("retain answers" in line for line in lines)
