"""Everything that a queue of requests needs, read and checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from efface.artifacts import Manifest
from efface.config.commands import RunConfig
from efface.config.continual import ContinualConfig, request_data
from efface.config.saved_settings import has_settings
from efface.continual.folder import QueueFolder
from efface.data import load_task
from efface.data.config import DataConfig, ForgetRequest, request_name
from efface.downstream.tasks import task_files
from efface.errors import EffaceError
from efface.evaluation.encode import encode_evaluation, warn_about_merged
from efface.models.folder import load_model_config, model_folder
from efface.models.open import OpenedModel
from efface.objectives.terms import Objective
from efface.progress.reporter import Reporter
from efface.run.metadata.manifest import make_manifest, resume_manifest, training_precision
from efface.run.preparation.complete_tasks import complete_tasks
from efface.run.preparation.plan import training_steps
from efface.run.preparation.prepare import check_settings, open_trainable_model
from efface.run.preparation.size_settings import tell_defaults, with_size_settings
from efface.run.selection.epoch_scores import check_epoch_selection
from efface.run.selection.keep_bound import check_keep
from efface.schema import Task
from efface.train.batches.micro_batches import TrainingExample


@dataclass(frozen=True)
class PlannedRequest:
    """One request, and the run that unlearns it."""

    number: int
    """Counted from 1."""
    name: str
    """As messages call it, such as `request 2 of 3 (task 2)`."""
    config: RunConfig
    """Of its run, from the model that the previous request left."""
    task: Task
    steps: Sequence[Sequence[TrainingExample]]
    """What each optimizer step trains on."""


@dataclass(frozen=True)
class PreparedQueue:
    """What was read and resolved for a queue; the loaded model is returned beside it, so that it can be freed."""

    config: RunConfig
    """The queue's settings, with those of its model's size."""
    settings: ContinualConfig
    requests: tuple[PlannedRequest, ...]
    device: torch.device
    model_answers: dict[str, str] | None
    """Id of a generic question -> the first model's answer, where these are the retain set."""
    manifest: Manifest
    """Of the whole queue, as it is when the queue starts, or is resumed."""

    @property
    def tasks(self) -> list[Task]:
        """The data of each request."""
        return [request.task for request in self.requests]


def prepare_queue(
    config: RunConfig,
    folder: QueueFolder,
    *,
    data_dir: Path | None,
    resume: bool,
    reporter: Reporter,
    placeholder_answers: bool = False,
) -> tuple[PreparedQueue, OpenedModel]:
    """Read and check the settings, all requests and the model; writes nothing.

    Args:
        config: The queue's settings.
        folder: Where the queue will write.
        data_dir: Where benchmarks are stored; None for the default.
        resume: Whether `folder` may contain a queue of the same settings, with the same or fewer requests.
        reporter: Gets stages and warnings.
        placeholder_answers: As for `run.prepare.prepare`.

    Returns:
        What the requests need, and the model before all of them.

    Raises:
        EffaceError: Something cannot be used, or `folder` contains something else.
    """
    settings = config.continual
    if settings is None:
        raise EffaceError("there are no requests; set continual.requests, such as [1, 2] or [first.csv, second.csv]")
    config, defaults = with_size_settings(config, lambda name: load_model_config(model_folder(name)))
    device = check_settings(config, folder, resume=resume)
    tell_defaults(config, defaults, reporter)
    data = request_data(config.data, settings.requests)
    tasks = [_load(each, request, data_dir) for each, request in zip(data, settings.requests, strict=True)]
    opened, bound = open_trainable_model(config, device, reporter)
    tasks, answers = complete_tasks(
        tasks, config, folder, opened, reporter=reporter, placeholder_answers=placeholder_answers
    )
    requests = tuple(
        _plan_request(
            config, number, data[number - 1], task, opened=opened, bound=bound, folder=folder, reporter=reporter
        )
        for number, task in enumerate(tasks, 1)
    )
    manifest = resume_manifest(
        folder.read_manifest(),
        _manifest(config, tasks, opened, device, defaults),
        reporter=reporter,
        allow_new_data=True,
    )
    _check_next(requests, folder)
    queue = PreparedQueue(
        config=config,
        settings=settings,
        requests=requests,
        device=device,
        model_answers=answers,
        manifest=manifest,
    )
    return queue, opened


def _load(data: DataConfig, request: ForgetRequest, data_dir: Path | None) -> Task:
    try:
        return load_task(data, data_dir=data_dir)
    except EffaceError as error:
        raise EffaceError(f"request {len(data.forgotten_before) + 1} ({request_name(request)}): {error}") from error


def _plan_request(
    config: RunConfig,
    number: int,
    data: DataConfig,
    task: Task,
    *,
    opened: OpenedModel,
    bound: Objective,
    folder: QueueFolder,
    reporter: Reporter,
) -> PlannedRequest:
    """Check that a request can be trained on and scored; `task` is its data, complete."""
    settings = config.continual
    assert settings is not None  # see `prepare_queue`
    steps = training_steps(task, bound, config, opened.formatter)
    check_epoch_selection(config, task)
    check_keep(config, task)
    questions = encode_evaluation(opened.model, opened.formatter, task.evaluation, config.evaluate)
    warn_about_merged(questions, config.text.boundary, reporter.on_warning)
    return PlannedRequest(
        number=number,
        name=f"request {number} of {len(settings.requests)} ({request_name(settings.requests[number - 1])})",
        config=_request_config(config, settings, data, number, folder),
        task=task,
        steps=steps,
    )


def _request_config(
    config: RunConfig, settings: ContinualConfig, data: DataConfig, number: int, folder: QueueFolder
) -> RunConfig:
    """The settings of one request's run."""
    is_first = number == 1
    lora = config.train.lora
    if lora is not None and not is_first:
        lora = lora.model_copy(update={"adapter": "keep" if settings.lora == "keep" else "new"})
    changes = {
        "train": config.train.model_copy(update={"lora": lora}),
        "model": config.model if is_first else str(folder.request(number - 1).model),
        "data": data,
        "reference": config.model if settings.reference == "first" and not is_first else None,
        "continual": None,
    }
    return config.model_copy(update=changes)


def _manifest(
    config: RunConfig, tasks: Sequence[Task], opened: OpenedModel, device: torch.device, defaults: dict[str, str]
) -> Manifest:
    """The manifest of the queue; each request's run has one of its own."""
    return make_manifest(
        seed=config.seed,
        device=device,
        precision=f"training {training_precision(config.train, device)}; each request has a manifest of its own",
        data={name: digest for task in tasks for name, digest in task.sources.items()},
        defaults=defaults,
        plugins=config.plugins,
        tasks=task_files(config.downstream),
        model=config.model,
        model_sha256=opened.sha256,
        tokenizer=opened.named_tokenizer,
        text=opened.formatter.recorded_settings,
    )


def _check_next(requests: Sequence[PlannedRequest], folder: QueueFolder) -> None:
    """Refuse a queue whose first unfinished request cannot start or resume with the files in the folder."""
    request = next((each for each in requests if folder.request(each.number).read_results() is None), None)
    if request is None:
        return
    previous = folder.request(request.number - 1)
    lora = request.config.train.lora
    needed = [previous.model, *([previous.adapter] if lora is not None and lora.adapter == "keep" else [])]
    missing = [path for path in needed if not path.is_dir()] if request.number > 1 else []
    if missing:
        raise EffaceError(f"{missing[0]} is missing, and {request.name} starts from it; start over in another --out")
    started = folder.request(request.number).config
    if started.is_file() and not has_settings(started, request.config):
        raise EffaceError(
            f"{request.name} was started with the queue in another folder; move {folder.root} back, then resume it "
            "there"
        )
