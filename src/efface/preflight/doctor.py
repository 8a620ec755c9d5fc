"""`efface doctor`: examine this machine, and whether a run fits on it and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from efface.config.commands import RunConfig
from efface.config.plugins import custom_objectives
from efface.data import load_task
from efface.evaluation.config import EvaluateConfig
from efface.hardware.device import device_for
from efface.hardware.memory import free_memory
from efface.hub import UnavailableError, fetch_model_config, resolve_local_model, resolve_local_tokenizer
from efface.models.auto_optimizer import resolve_optimizer
from efface.models.dtypes import evaluation_dtype_of
from efface.models.folder import load_model_config, model_folder
from efface.models.memory_estimate import meta_model
from efface.models.tokenizer import model_tokenizer
from efface.objectives.method import objective
from efface.packing.forward import max_positions, vocabulary_size
from efface.preflight.diagnosis import Diagnosis, Forecast, Machine, MeasuredCosts, Option, ProcessMemory, Times
from efface.preflight.findings import FindingsBuilder
from efface.preflight.machine import (
    benchmark_findings,
    bf16_finding,
    extras_findings,
    hub_finding,
    inspect_machine,
    judge_findings,
)
from efface.preflight.measure import extrapolate, measure
from efface.preflight.options import CheckedRun, forecast_options
from efface.preflight.processes import memory_by_rank
from efface.preflight.resources import disk_finding, memory_findings
from efface.preflight.workload import Workload, assumed_workload, describe_task, measured_workload
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter
from efface.report.number_format import format_bytes
from efface.run.preparation.size_settings import with_size_settings
from efface.run.training import check_can_train
from efface.schema import Task
from efface.text.formatter import PromptFormatter


def examine(data_dir: Path | None) -> Diagnosis:
    """Examine this machine: what is installed, how much is free, which benchmarks and judges are available.

    Args:
        data_dir: Folder of the benchmarks; None for the default one.

    Returns:
        The findings. Nothing is downloaded.
    """
    machine = inspect_machine()
    hub = hub_finding()
    findings = [*extras_findings(machine), hub, *benchmark_findings(data_dir)]
    findings += judge_findings(EvaluateConfig(), online=hub.level == "ok")
    return Diagnosis(machine=machine, findings=findings)


@quiet_libraries()
def examine_run(
    config: RunConfig, *, data_dir: Path | None, steps: int, reporter: Reporter, world_size: int | None = None
) -> Diagnosis:
    """Examine this machine and a run on it: model, data, memory, disk and time.

    Args:
        config: The run's settings.
        data_dir: Folder of the benchmarks; None for the default one.
        steps: Number of optimizer steps to measure; 0 measures nothing.
        reporter: Receives the stages of the measurement.
        world_size: Number of processes whose memory is counted; None to count none.

    Returns:
        The findings; whatever cannot be used is one of them. Of a model on the hub, only the config.json is downloaded,
        and nothing stays on disk.
    """
    machine, hub = inspect_machine(), hub_finding()
    builder = FindingsBuilder(reporter)
    builder.findings.append(hub)
    run, task = _check_run(builder, config, machine, data_dir)
    sets = () if task is None else task.evaluation
    builder.findings += judge_findings(config.evaluate, online=hub.level == "ok", sets=sets)
    if run is None:
        return Diagnosis(machine=machine, findings=builder.findings)
    workload = None if task is None else _measure_workload(builder, run, task)
    forecasts = _forecast(builder, run, workload, machine)
    if forecasts is None:
        return Diagnosis(machine=machine, findings=builder.findings)
    planned, options = forecasts
    processes = [] if world_size is None else _processes(run, world_size)
    measured, times = _measure(builder, run, workload, steps=steps, data_dir=data_dir)
    return Diagnosis(
        machine=machine,
        findings=builder.findings,
        forecast=planned,
        options=options,
        processes=processes,
        measured=measured,
        times=times,
    )


def _processes(run: CheckedRun, world_size: int) -> list[ProcessMemory]:
    return memory_by_rank(
        run.model_config,
        run.config.train,
        world_size=world_size,
        device_type=run.device.type,
        evaluated_in=evaluation_dtype_of(run.model_config, run.device, run.config.evaluate.precision),
    )


def _check_run(
    builder: FindingsBuilder, config: RunConfig, machine: Machine, data_dir: Path | None
) -> tuple[CheckedRun | None, Task | None]:
    """The run and its data, as far as they can be used."""
    device = builder.attempt("device", lambda: device_for(config.device))
    if device is not None:
        builder.attempt("training", lambda: check_can_train(config.train, device))
        if device.type == "cpu" and not config.train.bf16_on("cpu") and (faster := bf16_finding()) is not None:
            builder.findings.append(faster)
    method = builder.attempt("method", lambda: objective(config.method, config, custom_objectives(config.plugins)))
    task = builder.attempt("data", lambda: load_task(config.data, data_dir=data_dir))
    if task is not None:
        _add_data_findings(builder, task, config.evaluate.limit)
    model = _find_model(builder, config.model, machine)
    if device is None or method is None or model is None:
        return None, task
    config, _ = with_size_settings(config, lambda _: model.config)
    train = builder.attempt("training", lambda: resolve_optimizer(config.train, model.config, device, earlier=None))
    if train is None:
        return None, task
    resolved = config.model_copy(update={"train": train})
    return CheckedRun(resolved, method, model.config, model.folder, device, free_memory(device)), task


def _add_data_findings(builder: FindingsBuilder, task: Task, limit: int | None) -> None:
    scored = sum(len(each.items[:limit]) for each in task.evaluation)
    builder.add("ok", "data", f"{describe_task(task)}, {scored:,} questions to score")
    for text in task.warnings:
        builder.on_warning(text)


@dataclass(frozen=True)
class _Model:
    """A model's config.json, and its folder where all its files are on this machine."""

    config: Any
    folder: Path | None


def _find_model(builder: FindingsBuilder, name: str, machine: Machine) -> _Model | None:
    """The model in its folder or in the hub's cache; otherwise its config.json from the hub."""
    try:
        if resolve_local_model(name) is not None:
            return builder.attempt("model", lambda: _local_model(builder, name))
        with TemporaryDirectory() as folder:
            download = fetch_model_config(name, Path(folder))
            model_config = builder.attempt("model", lambda: load_model_config(Path(folder)))
    except UnavailableError as error:
        builder.add("problem", "model", f"{error}; give the folder of a model as model=FOLDER")
        return None
    size = format_bytes(download)
    if download > machine.cache_free:
        free = format_bytes(machine.cache_free)
        text = f"{name} takes {size}, but only {free} are free in {machine.cache}; free some space or set HF_HOME"
        builder.add("problem", "model", text)
    else:
        builder.add("ok", "model", f"{name} is on the hub; a run will download {size} to {machine.cache}")
    return None if model_config is None else _Model(model_config, None)


def _local_model(builder: FindingsBuilder, name: str) -> _Model:
    folder = model_folder(name)
    model = _Model(load_model_config(folder), folder)
    builder.add("ok", "model", f"{name} is available" if Path(name) == folder else f"{name} is in {folder}")
    return model


def _measure_workload(builder: FindingsBuilder, run: CheckedRun, task: Task) -> Workload | None:
    """The run's sequences; None where the tokenizer is not on this machine or cannot be used."""
    folder = run.model_folder
    if folder is None or not _is_tokenizer_here(builder, run.config.tokenizer):
        return None

    def tokenize() -> Workload:
        model = meta_model(run.model_config, None)
        limit, vocabulary = max_positions(run.model_config), vocabulary_size(model)
        tokenizer = model_tokenizer(folder, run.config.tokenizer).tokenizer
        formatter = PromptFormatter(tokenizer, run.config.text, limit=limit, vocabulary=vocabulary)
        return measured_workload(run.config, task, run.objective, formatter, model=model, reporter=builder)

    return builder.attempt("text", tokenize)


def _is_tokenizer_here(builder: FindingsBuilder, name: str | None) -> bool:
    """Whether the tokenizer of the setting `tokenizer` is on this machine; None is that of the model."""
    try:
        if name is None or resolve_local_tokenizer(name) is not None:
            return True
        builder.add("ok", "tokenizer", f"that of {name} is on the hub; a run will download it")
    except UnavailableError as error:
        builder.add("problem", "tokenizer", f"{error}; give a folder with a tokenizer as tokenizer=FOLDER")
    return False


def _forecast(
    builder: FindingsBuilder, run: CheckedRun, workload: Workload | None, machine: Machine
) -> tuple[Forecast, list[Option]] | None:
    """What the run needs, and whether that is free; for assumed lengths where the real ones are unknown."""
    lengths = workload or assumed_workload(run.config, run.objective)
    forecasts = builder.attempt("model", lambda: forecast_options(run, lengths))
    if forecasts is not None:
        planned, options = forecasts
        builder.findings += [
            *memory_findings(planned, options, machine, device_type=run.device.type, free=run.free),
            disk_finding(planned, machine),
        ]
    return forecasts


def _measure(
    builder: FindingsBuilder, run: CheckedRun, workload: Workload | None, *, steps: int, data_dir: Path | None
) -> tuple[MeasuredCosts | None, Times | None]:
    """Measure a part of the run, unless something stops it, and extrapolate."""
    if workload is None or run.model_folder is None:
        builder.add(
            "warning",
            "time",
            "lengths are assumed and nothing is measured until model and data are on this machine and can be used",
        )
        return None, None
    if not steps or builder.has_problem:
        return None, None
    measured = builder.attempt("steps", lambda: measure(run.config, steps=steps, data_dir=data_dir, reporter=builder))
    return measured, extrapolate(measured, workload, run.config, run.objective) if measured else None
