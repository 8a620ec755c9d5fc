"""`efface doctor`: can this machine do what is asked, and what will it take?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch

from efface.data import load_task
from efface.errors import EffaceError
from efface.evaluate.config import EvaluateConfig
from efface.hub import UnavailableError, found_here, look_up
from efface.objectives.method import objective
from efface.objectives.terms import Objective
from efface.report.diagnosis import Diagnosis, Finding, Forecast, Level, Machine, Measured, Option, Times
from efface.report.facts import size
from efface.run.config import RunConfig
from efface.run.forecast import forecast, skeleton, training_with
from efface.run.measure import extrapolated, measure
from efface.run.models import device_for, load_tokenizer, model_config, model_folder
from efface.run.plugins import own_objectives
from efface.run.quiet import quiet_libraries
from efface.run.reporter import Reporter, Silent
from efface.run.surroundings import (
    benchmark_findings,
    extras_findings,
    hub_finding,
    judge_findings,
    look_around,
)
from efface.run.training import check_can_train
from efface.run.workload import Workload, counted, supposed
from efface.schema import Task
from efface.text.forward import positions, vocabulary_size
from efface.text.template import Formatter
from efface.train.config import LoRAConfig
from efface.train.memory import free_memory
from efface.train.plan import Schedule, schedule

_TIGHT = 0.9
"""Of what is free: beyond it, a forecast that is a little off decides."""
_Found = TypeVar("_Found")


def examine(data_dir: Path | None) -> Diagnosis:
    """Look at this machine alone: what is installed, free, and at hand. Nothing is downloaded."""
    machine = look_around()
    hub = hub_finding()
    findings = [*extras_findings(machine), hub, *benchmark_findings(data_dir)]
    findings += judge_findings(EvaluateConfig(), online=hub.level == "ok")
    return Diagnosis(machine=machine, findings=findings)


@quiet_libraries()
def examine_run(config: RunConfig, *, data_dir: Path | None, steps: int, reporter: Reporter) -> Diagnosis:
    """Look at this machine and at a run on it: model, data, memory, disk; `steps` are measured, none where 0.

    Whatever cannot be used becomes a finding. Neither the model nor anything else is downloaded but its config.json,
    and nothing stays on disk.
    """
    this = _Examination(config, data_dir, reporter)
    this.surroundings()
    device = this.attempt("device", lambda: device_for(config.device))
    if device is not None:
        this.run_on(device, steps)
    return Diagnosis(
        machine=this.machine,
        findings=this.findings,
        forecast=this.forecast,
        options=this.options,
        measured=this.measured,
        times=this.times,
    )
