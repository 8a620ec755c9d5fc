"""Everything that a run needs, read and checked before anything is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface.artifacts import Manifest
from efface.config.commands import RunConfig
from efface.config.plugins import custom_objectives
from efface.data import load_task
from efface.data.config import MODEL_ANSWERS
from efface.data.sources.generic_questions import with_model_answers
from efface.downstream.tasks import task_files
from efface.errors import EffaceError
from efface.models.auto_optimizer import resolve_optimizer
from efface.models.dtypes import dtype_name
from efface.models.folder import load_model_config, model_folder, model_sha256
from efface.models.load import load_tokenizer
from efface.models.open import OpenedModel
from efface.objectives.terms import Objective
from efface.packing.forward import vocabulary_size
from efface.progress.reporter import Reporter
from efface.run.checks import check_settings, open_trainable_model
from efface.run.epoch_snapshots import EpochSnapshots
from efface.run.folder import RunFolder
from efface.run.manifest import check_objectives, make_manifest, precision, resume_manifest
from efface.run.retain_answers import RetainAnswerer, generate_retain_answers, read_answers, write_answers
from efface.run.training import warn_before_training
from efface.schema import Task
from efface.text.formatter import PromptFormatter
from efface.train.config import TrainConfig
from efface.train.examples import check_task, unlearning_examples
from efface.train.micro_batches import TrainingExample
from efface.train.sampler import epoch_ends, sample_batches


@dataclass
class Prepared:
    """What the stages of one run share."""

    config: RunConfig
    out: RunFolder
    task: Task
    own_answers: dict[str, str] | None
    """Generic question -> the model's own answer, where these are what to keep."""
    source: Path
    """The folder of the model before unlearning."""
    reference: tuple[Path, str]
    """The folder of the model that objectives compare with, and its hash."""
    original: Any
    """That model as it was loaded for the first checks; None once it was evaluated."""
    tokenizer: Any
    formatter: PromptFormatter
    device: torch.device
    objective: Objective
    steps: list[list[TrainingExample]]
    manifest: Manifest
    reporter: Reporter

    def start(self) -> None:
        """Write what the run was asked to do; from here on, it can be resumed."""
        self.out.start(self.config, self.manifest)
        if self.own_answers is not None:
            write_answers(self.out, self.own_answers)

    @property
    def train(self) -> TrainConfig:
        """How to train, with the optimizer that was settled on."""
        return self.config.train.model_copy(update={"optimizer": self.manifest.optimizer})

    @property
    def snapshots(self) -> EpochSnapshots | None:
        """Where the weights of each epoch go until they are scored, if they are to be."""
        if self.config.evaluate.every is None:
            return None
        ends = epoch_ends(len(self.task.forget), self.config.train)
        return EpochSnapshots(self.out.epoch_snapshots, ends, self.config, self.source)

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Tell of a stage and add its seconds to the manifest."""
        self.reporter.on_stage(text)
        start = time.perf_counter()
        yield
        self.manifest.seconds[name] = round(time.perf_counter() - start, 3)


def prepare(
    config: RunConfig,
    out: RunFolder,
    *,
    data_dir: Path | None,
    reporter: Reporter,
    resume: bool,
    answer: RetainAnswerer = generate_retain_answers,
) -> Prepared:
    """Read and check the settings, the data and the model of a run; writes nothing.

    `answer` makes the answers to keep for `retain=model-answers` where the run has none on disk. Raises `EffaceError`
    for whatever cannot be used, and where `out` holds something else.
    """
    if config.continual is not None:
        raise EffaceError("continual holds several requests, and this takes one; use efface run")
    device = check_settings(config, out, resume=resume)
    task = load_task(config.data, data_dir=data_dir)
    opened, bound = open_trainable_model(config, device, reporter)
    reference = _reference(config, opened, bound)
    answers = None
    if config.data.retain == MODEL_ANSWERS:
        answers = read_answers(out) or answer(opened.model, opened.formatter, config, reporter)
        task = with_model_answers(task, answers, retain_evaluation=config.data.retain_evaluation)
    check_task(task, bound)
    _warn_of_method(config, bound, reporter)
    steps = unlearning_examples(sample_batches(task, config.train, config.seed), bound.views, opened.formatter)
    warn_before_training(task, opened.formatter, config.train, items=len(task.forget), reporter=reporter)
    return Prepared(
        config=config,
        out=out,
        task=task,
        own_answers=answers,
        source=opened.source,
        reference=reference,
        original=opened.model,
        tokenizer=opened.tokenizer,
        formatter=opened.formatter,
        device=device,
        objective=bound,
        steps=steps,
        manifest=_manifest(config, out, task, opened, device=device, reference=reference),
        reporter=reporter,
    )


def _warn_of_method(config: RunConfig, bound: Objective, reporter: Reporter) -> None:
    """Tell of settings that the method passes over, and of a method that keeps nothing."""
    own = custom_objectives(config.plugins)
    if unused := [each.name for each in own if each.name not in bound.name.split("+")]:
        reporter.on_warning(f"method {bound.name} does not use the plug-in {', '.join(unused)}")
    if not bound.retain:
        reporter.on_warning(
            f"method {bound.name} only forgets: nothing is kept, and the model will lose more than it was asked to; "
            f"{bound.name}+gd keeps a retain set, your own or data.retain=model-answers"
        )
    if config.reference is not None and not bound.sequence_reference_views and not bound.needs_distribution:
        reporter.on_warning(f"method {bound.name} compares with no model; reference={config.reference} is not used")


def _manifest(
    config: RunConfig,
    out: RunFolder,
    task: Task,
    opened: OpenedModel,
    *,
    device: torch.device,
    reference: tuple[Path, str],
) -> Manifest:
    """What makes this run; of one that goes on, with its start and times. Raises `EffaceError` where it changed."""
    earlier = out.read_manifest()
    train = resolve_optimizer(config.train, load_model_config(opened.source), device, earlier=earlier)
    made = make_manifest(
        seed=config.seed,
        device=device,
        precision=f"{precision(train, device)}, evaluation {dtype_name(opened.model.dtype)}",
        optimizer=train.optimizer,
        data=task.sources,
        plugins=config.plugins,
        tasks=task_files(config.downstream),
        model=config.model,
        model_sha256=opened.sha256,
    )
    if config.reference is not None:
        made.notes.append(f"compared with {config.reference} (sha256 {reference[1]})")
    if earlier is None:
        return made
    if not out.model.is_dir():
        check_objectives(earlier, config.plugins)
        _check_reference(config, earlier, made)
    return resume_manifest(earlier, made)


def _reference(config: RunConfig, opened: OpenedModel, bound: Objective) -> tuple[Path, str]:
    """Folder and hash of the model to compare with. Raises `EffaceError` for one that reads other tokens."""
    if config.reference is None:
        return opened.source, opened.sha256
    folder = model_folder(config.reference)
    if load_tokenizer(folder).get_vocab() != opened.tokenizer.get_vocab():
        raise EffaceError(
            f"reference {config.reference} has another vocabulary than model {config.model}; give a model that reads "
            "the same tokens, such as the one that it was made from"
        )
    here, there = vocabulary_size(opened.model), load_model_config(folder).get_text_config().vocab_size
    if bound.needs_distribution and here != there:
        raise EffaceError(
            f"reference {config.reference} gives {there} logits and model {config.model} {here}, and {bound.name} "
            "compares all of them; give a model that was not resized"
        )
    return folder, model_sha256(folder)


def _check_reference(config: RunConfig, earlier: Manifest, now: Manifest) -> None:
    """Refuse to go on training beside another reference than before. Raises `EffaceError`."""
    if not set(now.notes) <= set(earlier.notes):
        raise EffaceError(
            f"--resume: reference {config.reference} has changed since the run started; start anew in another --out"
        )
