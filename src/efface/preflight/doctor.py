"""`efface doctor`: can this machine do what is asked, and what will it take?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch

from efface.config.commands import RunConfig
from efface.config.plugins import custom_objectives
from efface.data import load_task
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.hardware.device import device_for
from efface.hardware.memory import free_memory
from efface.hub import UnavailableError, fetch_model_config, resolve_local_model
from efface.models.auto_optimizer import resolve_optimizer
from efface.models.load import load_tokenizer, model_config, model_folder
from efface.models.lora import has_experts
from efface.models.memory_estimate import meta_model
from efface.objectives.method import objective
from efface.objectives.terms import Objective
from efface.packing.forward import max_positions, vocabulary_size
from efface.preflight.diagnosis import Diagnosis, Finding, Forecast, Level, Machine, Option
from efface.preflight.forecast import forecast
from efface.preflight.machine import (
    benchmark_findings,
    bf16_finding,
    extras_findings,
    hub_finding,
    inspect_machine,
    judge_findings,
)
from efface.preflight.measure import extrapolated, measure
from efface.preflight.workload import Workload, assumed_workload, measured_workload
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.report.number_format import format_bytes
from efface.run.training import check_can_train
from efface.schema import Task
from efface.text.formatter import PromptFormatter
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.optimizer import adamw8bit_unsupported_reason

_TIGHT = 0.7
"""Of what is free: a forecast counts tensors, and what is freed in between may hold 1.4 times as much."""
_OPTION_FIELDS = ("weights", "gradients", "optimizer", "activations", "tokens", "checkpointing", "training")
"""Of a forecast, for each way to train."""
_T = TypeVar("_T")


def examine(data_dir: Path | None) -> Diagnosis:
    """Look at this machine alone: what is installed, free, and at hand. Nothing is downloaded."""
    machine = inspect_machine()
    hub = hub_finding()
    findings = [*extras_findings(machine), hub, *benchmark_findings(data_dir)]
    findings += judge_findings(EvaluateConfig(), online=hub.level == "ok")
    return Diagnosis(machine=machine, findings=findings)


@quiet_libraries()
def examine_run(config: RunConfig, *, data_dir: Path | None, steps: int, reporter: Reporter) -> Diagnosis:
    """Look at this machine and at a run on it: model, data, memory, disk; measure so many steps, none where 0.

    Whatever cannot be used becomes a finding. Of a model on the hub, only the config.json is read; nothing stays on
    disk.
    """
    chart, machine, hub = _Findings(reporter), inspect_machine(), hub_finding()
    chart.findings += [hub, *judge_findings(config.evaluate, online=hub.level == "ok")]
    device = chart.attempt("device", lambda: device_for(config.device))
    if device is not None:
        chart.attempt("training", lambda: check_can_train(config.train, device))
        if device.type == "cpu" and not config.train.bf16_on("cpu") and (faster := bf16_finding()) is not None:
            chart.findings.append(faster)
    bound = chart.attempt("method", lambda: objective(config.method, config, custom_objectives(config.plugins)))
    task = chart.attempt("data", lambda: load_task(config.data, data_dir=data_dir))
    if task is not None:
        _data_finding(chart, task, config.evaluate.limit)
    model = _find_model(chart, config.model, machine)
    if device is None or bound is None or model is None:
        return Diagnosis(machine=machine, findings=chart.findings)
    train = chart.attempt("training", lambda: resolve_optimizer(config.train, model.settings, device, earlier=None))
    if train is None:
        return Diagnosis(machine=machine, findings=chart.findings)
    config = config.model_copy(update={"train": train})
    run = _Run(config, bound, model, device, free_memory(device))
    work = None if task is None else _count(chart, run, task)
    ways = chart.attempt("model", lambda: _forecasts(run, work or assumed_workload(config, bound)))
    if ways is None:
        return Diagnosis(machine=machine, findings=chart.findings)
    planned, options = ways
    _judge_memory(chart, run, planned, options, machine)
    _judge_disk(chart, planned, machine)
    measured = times = None
    if work is None or model.folder is None:
        chart.add(
            "warning",
            "time",
            "lengths are supposed, and nothing is measured, until model and data are here and can be used",
        )
    elif steps and not chart.stops:
        measured = chart.attempt("steps", lambda: measure(config, steps=steps, data_dir=data_dir, reporter=chart))
        times = extrapolated(measured, work, config, bound) if measured else None
    return Diagnosis(
        machine=machine, findings=chart.findings, forecast=planned, options=options, measured=measured, times=times
    )


class _Findings(SilentReporter):
    """What was found so far; as a reporter, it takes warnings as findings and hands stages on."""

    def __init__(self, reporter: Reporter) -> None:
        self.findings: list[Finding] = []
        self._reporter = reporter

    @property
    def stops(self) -> bool:
        """Whether something stops the run."""
        return any(finding.level == "problem" for finding in self.findings)

    def add(self, level: Level, about: str, text: str) -> None:
        finding = Finding(level=level, about=about, text=text)
        if finding not in self.findings:  # what is measured is checked again
            self.findings.append(finding)

    def attempt(self, about: str, what: Callable[[], _T]) -> _T | None:
        """What `what` returns; None, and a problem, where it cannot be had."""
        try:
            return what()
        except EffaceError as error:
            self.add("problem", about, str(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self.add(
                "problem", about, f"{where}{error.strerror or error}; look at the path, its rights and the free space"
            )
        except torch.OutOfMemoryError:
            remedy = (
                "lower evaluate.max_cache_tokens and train.max_tokens_per_forward, or train adapters (train.lora=true)"
            )
            self.add("problem", about, f"the GPU's memory ran out; {remedy}")
        return None

    def on_stage(self, text: str) -> None:
        self._reporter.on_stage(text)

    def on_warning(self, text: str) -> None:
        self.add("warning", "run", text)


@dataclass(frozen=True)
class _Model:
    """A model's config.json, and where the whole model is, if it is here."""

    settings: Any
    folder: Path | None


@dataclass(frozen=True)
class _Run:
    """What all that is said of a run goes by."""

    config: RunConfig
    bound: Objective
    model: _Model
    device: torch.device
    free: int
    """Bytes of the device's memory."""


def _data_finding(chart: _Findings, task: Task, limit: int | None) -> None:
    scored = sum(len(each.items[:limit]) for each in task.evaluation)
    kept = f"{len(task.forget):,} to forget, {len(task.retain):,} to keep"
    chart.add("ok", "data", f"{task.name}: {kept}, {scored:,} questions to score")
    for text in task.warnings:
        chart.on_warning(text)


def _find_model(chart: _Findings, name: str, machine: Machine) -> _Model | None:
    """The model in its folder or the cache; of one on the hub, the settings."""
    try:
        if resolve_local_model(name) is not None:
            return chart.attempt("model", lambda: _local_model(chart, name))
        with TemporaryDirectory() as place:
            download = fetch_model_config(name, Path(place))
            settings = chart.attempt("model", lambda: model_config(Path(place)))
    except UnavailableError as error:
        chart.add("problem", "model", f"{error}; give the folder of a model as model=FOLDER")
        return None
    if download > machine.cache_free:
        short = (
            f"{name} takes {format_bytes(download)}, and {machine.cache} has {format_bytes(machine.cache_free)} free"
        )
        chart.add("problem", "model", f"{short}; free some space or set HF_HOME")
    else:
        chart.add(
            "ok", "model", f"{name} is on the hub; a run will download {format_bytes(download)} to {machine.cache}"
        )
    return None if settings is None else _Model(settings, None)


def _local_model(chart: _Findings, name: str) -> _Model:
    folder = model_folder(name)
    found = _Model(model_config(folder), folder)
    chart.add("ok", "model", f"{name} is here" if Path(name) == folder else f"{name} is in {folder}")
    return found


def _count(chart: _Findings, run: _Run, task: Task) -> Workload | None:
    """The run's sequences, where the tokenizer is here."""
    folder = run.model.folder
    if folder is None:
        return None

    def count() -> Workload:
        bare = meta_model(run.model.settings, None)
        limit, vocabulary = max_positions(run.model.settings), vocabulary_size(bare)
        formatter = PromptFormatter(load_tokenizer(folder), run.config.text, limit=limit, vocabulary=vocabulary)
        return measured_workload(run.config, task, run.bound, formatter, model=bare, reporter=chart)

    return chart.attempt("text", count)


def _forecasts(run: _Run, work: Workload) -> tuple[Forecast, list[Option]]:
    """What the run needs as it is configured, and what each way to train would."""
    config = run.config

    def planned(train: TrainConfig) -> Forecast:
        changed = config.model_copy(update={"train": train})
        return forecast(run.model.settings, changed, work, run.bound, device=run.device, free=run.free)

    options = []
    for name, setting, train in _training_options(run):
        needed = planned(train)
        option = Option(
            name=name,
            setting=setting,
            fits=needed.training <= run.free,
            chosen=_kind(train) == _kind(config.train),
            **{field: getattr(needed, field) for field in _OPTION_FIELDS},
        )
        options.append(option)
    return planned(config.train), options


def _training_options(run: _Run) -> Iterator[tuple[str, str, TrainConfig]]:
    """Name, settings and configuration of each way to train that is to be had here."""
    train = run.config.train
    whole = train.model_copy(update={"lora": None, "optimizer": "adamw"})
    yield "all weights", "train.lora=false train.optimizer=adamw", whole
    if train.precision != "float32" and train.sharding == "none" and adamw8bit_unsupported_reason(run.device) is None:
        small = whole.model_copy(update={"optimizer": "adamw8bit"})
        yield "all weights in bf16, AdamW in 8 bits", "train.lora=false train.optimizer=adamw8bit", small
    if find_spec("peft") is None:
        return
    lora = (train.lora or LoRAConfig()).model_copy(update={"bits": None})
    yield "adapters", "train.lora=true", whole.model_copy(update={"lora": lora})
    if not has_experts(meta_model(run.model.settings, None)):  # which cannot be rounded
        rounded = lora.model_copy(update={"bits": 4})
        yield "adapters, base in 4 bits", "train.lora.bits=4", whole.model_copy(update={"lora": rounded})


def _kind(train: TrainConfig) -> tuple[object, ...]:
    """What the ways to train differ in."""
    return train.optimizer, train.lora is None, train.lora and train.lora.bits


def _judge_memory(chart: _Findings, run: _Run, planned: Forecast, options: list[Option], machine: Machine) -> None:
    needed = max(planned.training, planned.evaluation)
    about = f"about {format_bytes(planned.training)} in training and {format_bytes(planned.evaluation)} in evaluation"
    if needed <= _TIGHT * run.free:
        chart.add("ok", "memory", f"{about}; {format_bytes(run.free)} are free")
    elif needed <= run.free:
        chart.add(
            "warning",
            "memory",
            f"{about}, and {format_bytes(run.free)} are free, which may be too tight; {_advice(options)}",
        )
    elif planned.training <= run.free:
        remedy = "lower evaluate.max_cache_tokens and evaluate.max_tokens_per_forward"
        chart.add("problem", "memory", f"{about}, but only {format_bytes(run.free)} are free; {remedy}")
    else:
        chart.add("problem", "memory", f"{about}, but only {format_bytes(run.free)} are free; {_advice(options)}")
    if planned.loading > machine.memory_free:
        short = f"its weights go through {format_bytes(planned.loading)} of the host's memory, of which {format_bytes(machine.memory_free)}"
        chart.add("problem", "memory", f"{short} are free; close other programs or use a machine with more")


def _advice(options: list[Option]) -> str:
    """The way to train that needs least, if it fits."""
    least = min(options, key=lambda option: option.training)
    if least.fits:
        return f"{least.setting} needs about {format_bytes(least.training)} in training"
    return "use a machine with more memory or a smaller model"


def _judge_disk(chart: _Findings, planned: Forecast, machine: Machine) -> None:
    needed = (
        f"{format_bytes(planned.disk)} for checkpoints and model, {format_bytes(machine.disk_free)} free in this folder"
    )
    if planned.disk <= machine.disk_free:
        chart.add("ok", "disk", needed)
    else:
        chart.add("problem", "disk", f"{needed}; free some space or have --out on another disk")
