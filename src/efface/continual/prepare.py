"""Everything that a queue of requests needs, read and checked before anything is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from efface.artifacts import Manifest
from efface.config.commands import RunConfig
from efface.config.continual import ContinualConfig, request_data
from efface.config.parse import read_saved_settings
from efface.config.plugins import custom_metrics
from efface.continual.folder import QueueFolder
from efface.data import load_task
from efface.data.config import MODEL_ANSWERS, DataConfig, ForgetRequest, request_name
from efface.data.sources.generic_questions import with_model_answers
from efface.downstream.tasks import task_files
from efface.errors import EffaceError
from efface.evaluation.encode import encode_evaluation
from efface.models.open import OpenedModel, open_model
from efface.objectives.terms import Objective
from efface.progress.reporter import Reporter
from efface.run.checks import check_settings, open_trainable_model
from efface.run.epoch_scores import check_best
from efface.run.manifest import check_task_files, make_manifest, training_precision
from efface.run.retain_answers import RetainAnswerer, generate_retain_answers, read_answers, write_answers
from efface.schema import Task
from efface.scores.custom import RecordMetric
from efface.train.examples import check_task, unlearning_examples
from efface.train.micro_batches import TrainingExample
from efface.train.sampler import sample_batches


@dataclass
class Queue:
    """What the requests share."""

    config: RunConfig
    settings: ContinualConfig
    folder: QueueFolder
    data: tuple[DataConfig, ...]
    """Of each request, in order."""
    tasks: list[Task]
    steps: list[list[list[TrainingExample]]]
    """Of each request: what each step trains on."""
    device: torch.device
    opened: OpenedModel | None
    """The first model; None once it was evaluated."""
    own_answers: dict[str, str] | None
    manifest: Manifest

    @property
    def own_metrics(self) -> Sequence[RecordMetric]:
        """The user's."""
        return custom_metrics(self.config.plugins)

    def start(self) -> None:
        """Write what the queue was asked to do; from here on, it can be resumed."""
        self.folder.start(self.config, self.manifest)
        if self.own_answers is not None:
            write_answers(self.folder, self.own_answers)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what this takes to the manifest."""
        start = time.perf_counter()
        yield
        before = self.manifest.seconds.get(name, 0)
        self.manifest.seconds[name] = round(before + time.perf_counter() - start, 3)
        self.folder.write_manifest(self.manifest)

    def open(self, reporter: Reporter) -> OpenedModel:
        """The first model, once more where it was let go."""
        config = self.config
        return self.opened or open_model(
            config.model, config.text, device=self.device, reporter=reporter, precision=config.evaluate.precision
        )

    def config_of(self, number: int) -> RunConfig:
        """The settings of one request's run, counted from 1: from the model that the one before it left."""
        first = number == 1
        previous = self.config.model if first else str(self.folder.request(number - 1).model)
        reference = self.config.model if self.settings.reference == "first" and not first else None
        changes = {"model": previous, "data": self.data[number - 1], "reference": reference, "continual": None}
        return self.config.model_copy(update=changes)

    def name_of(self, number: int) -> str:
        """What to call a request, counted from 1."""
        return f"request {number} of {len(self.tasks)} ({request_name(self.settings.requests[number - 1])})"

    def check_next(self) -> None:
        """Raise `EffaceError` where the first request that is not done cannot start, or go on, from what lies here."""
        number = next((n for n in range(1, len(self.tasks) + 1) if self.folder.request(n).read_results() is None), None)
        if number is None:
            return
        config, what = self.config_of(number), self.name_of(number)
        if number > 1 and not self.folder.request(number - 1).model.is_dir():
            raise EffaceError(f"{config.model} is not there, and {what} starts from it; start anew in another --out")
        started = self.folder.request(number).config
        if started.is_file() and read_saved_settings(started) != config.model_dump(mode="json"):
            raise EffaceError(f"{what} was started in another place; go on with {self.folder.root} where it lay")


def prepare_queue(
    config: RunConfig,
    folder: QueueFolder,
    *,
    data_dir: Path | None,
    resume: bool,
    reporter: Reporter,
    answer: RetainAnswerer = generate_retain_answers,
) -> Queue:
    """Read and check the settings, all requests and the model; writes nothing.

    `answer` is as in `prepare`. Raises `EffaceError` as a run does.
    """
    settings = config.continual
    if settings is None:
        raise EffaceError("there are no requests; set continual.requests, such as [1, 2] or [first.csv, second.csv]")
    device = check_settings(config, folder, resume=resume)
    data = request_data(config.data, settings.requests)
    tasks = [_loaded(each, request, data_dir) for each, request in zip(data, settings.requests, strict=True)]
    opened, bound = open_trainable_model(config, device, reporter)
    answers = None
    if config.data.retain == MODEL_ANSWERS:
        answers = read_answers(folder) or answer(opened.model, opened.formatter, config, reporter)
        tasks = [with_model_answers(task, answers, retain_evaluation=config.data.retain_evaluation) for task in tasks]
    steps = [_steps(task, bound, config, opened) for task in tasks]
    this = Queue(
        config=config,
        settings=settings,
        folder=folder,
        data=data,
        tasks=tasks,
        steps=steps,
        device=device,
        opened=opened,
        own_answers=answers,
        manifest=_continued(folder, _manifest(config, tasks, opened, device)),
    )
    this.check_next()
    return this


def _manifest(config: RunConfig, tasks: Sequence[Task], opened: OpenedModel, device: torch.device) -> Manifest:
    """What makes this queue; each request has a manifest of its own."""
    return make_manifest(
        seed=config.seed,
        device=device,
        precision=f"training {training_precision(config.train, device)}; each request has a manifest of its own",
        data={name: digest for task in tasks for name, digest in task.sources.items()},
        plugins=config.plugins,
        tasks=task_files(config.downstream),
        model=config.model,
        model_sha256=opened.sha256,
    )


def _loaded(data: DataConfig, request: ForgetRequest, data_dir: Path | None) -> Task:
    """The task of one request. Raises `EffaceError` that names it."""
    try:
        return load_task(data, data_dir=data_dir)
    except EffaceError as error:
        raise EffaceError(f"request {len(data.forgotten_before) + 1} ({request_name(request)}): {error}") from error


def _steps(task: Task, bound: Objective, config: RunConfig, opened: OpenedModel) -> list[list[TrainingExample]]:
    """What one request's run would train on. Raises `EffaceError` where it does not fit the method or the model."""
    check_task(task, bound)
    check_best(config, task)
    encode_evaluation(opened.model, opened.formatter, task.evaluation, config.evaluate)
    return unlearning_examples(sample_batches(task, config.train, config.seed), bound.views, opened.formatter)


def _continued(folder: QueueFolder, made: Manifest) -> Manifest:
    """The manifest of a queue that goes on keeps its start and times.

    Raises `EffaceError` where the first model or the data of earlier requests are no longer the same.
    """
    earlier = folder.read_manifest()
    if earlier is None:
        return made
    if earlier.model_sha256 != made.model_sha256:
        raise EffaceError(
            f"--resume: model {made.model} has changed since the queue started; start anew in another --out"
        )
    if changed := [name for name, digest in earlier.data.items() if made.data.get(name) != digest]:
        raise EffaceError(f"--resume: {changed[0]} has changed since the queue started; start anew in another --out")
    check_task_files(earlier, made)
    kept = {
        "started": earlier.started,
        "seconds": earlier.seconds,
        "notes": [*earlier.notes, f"resumed {made.started}"],
    }
    return made.model_copy(update=kept)
