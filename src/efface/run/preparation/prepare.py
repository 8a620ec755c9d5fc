"""Everything that a run needs, read and checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from efface import distributed
from efface.artifacts import Manifest
from efface.config.commands import RunConfig
from efface.config.plugins import custom_objectives
from efface.data import load_task
from efface.downstream.harness import check_template
from efface.downstream.tasks import check_tasks, task_files
from efface.errors import EffaceError
from efface.hardware.device import device_for, reset_peak_memory
from efface.models.dtypes import dtype_name
from efface.models.folder import load_model_config, model_folder
from efface.models.open import OpenedModel, open_model
from efface.models.quantization import check_trainable_weights
from efface.objectives.custom import check_custom_objective
from efface.objectives.method import objective
from efface.objectives.terms import Objective
from efface.packing.forward import vocabulary_size
from efface.packing.layers import check_layers
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.run.metadata.manifest import check_objectives, make_manifest, precision, resume_manifest
from efface.run.preparation.complete_tasks import complete_tasks
from efface.run.preparation.plan import unlearning_plan
from efface.run.preparation.reference_model import check_same_reference, find_reference
from efface.run.preparation.size_settings import tell_defaults, with_size_settings
from efface.run.preparation.starting_adapter import StartingAdapter, adapter_origin, find_adapter
from efface.run.training import check_can_train, warn_before_training
from efface.run.unlearning_plan import UnlearningPlan
from efface.schema import Task
from efface.text.formatter import PromptFormatter
from efface.train.batches.sampler import anchor_items
from efface.train.distribution.zero_engine import check_zero


@dataclass(frozen=True)
class PreparedRun:
    """What was read and resolved for a run; the loaded model is returned beside it, so that it can be freed."""

    config: RunConfig
    """The run's settings, with those of its model's size."""
    task: Task
    model_answers: dict[str, str] | None
    """Id of a generic question -> the model's answer, where these are the retain set."""
    plan: UnlearningPlan
    formatter: PromptFormatter
    device: torch.device
    manifest: Manifest
    """As it is when the run starts, or is resumed."""


def prepare(
    config: RunConfig,
    folder: RunFolder,
    *,
    data_dir: Path | None,
    reporter: Reporter,
    resume: bool,
    placeholder_answers: bool = False,
) -> tuple[PreparedRun, OpenedModel]:
    """Read and check the settings, the data and the model of a run; writes nothing.

    Args:
        config: The run's settings, with one request.
        folder: Where the run will write.
        data_dir: Where benchmarks are stored; None for the default.
        reporter: Gets stages and warnings.
        resume: Whether `folder` may contain a run of the same settings.
        placeholder_answers: With `retain=model-answers`, use placeholders in place of answers that the model would
            have to generate.

    Returns:
        What the stages of the run need, and the model before unlearning.

    Raises:
        EffaceError: Something cannot be used, or `folder` contains something else.
    """
    if config.continual is not None:
        raise EffaceError("continual lists several requests, and this takes one; use efface run")
    config, defaults = with_size_settings(config, lambda name: load_model_config(model_folder(name)))
    device = check_settings(config, folder, resume=resume)
    tell_defaults(config, defaults, reporter)
    task = load_task(config.data, data_dir=data_dir)
    opened, bound = open_trainable_model(config, device, reporter)
    reference = find_reference(config, opened, bound)
    adapter = find_adapter(config.model, config.train.lora)
    (task,), answers = complete_tasks(
        [task], config, folder, opened, reporter=reporter, placeholder_answers=placeholder_answers
    )
    earlier = folder.read_manifest()
    plan = unlearning_plan(
        task, bound, config, opened, reference=reference, adapter=adapter, device=device, earlier=earlier
    )
    _warn_about_method(config, bound, reporter)
    warn_before_training(
        task,
        plan.steps,
        config.train,
        items=len(anchor_items(task, config.train)),
        boundary=config.text.boundary,
        reporter=reporter,
    )
    if earlier is not None and not folder.model.is_dir():
        check_objectives(earlier, config.plugins)
        check_same_reference(reference, earlier)
    prepared = PreparedRun(
        config=config,
        task=task,
        model_answers=answers,
        plan=plan,
        formatter=opened.formatter,
        device=device,
        manifest=resume_manifest(
            earlier, _manifest(config, task, opened, plan, adapter, device=device, defaults=defaults), reporter=reporter
        ),
    )
    return prepared, opened


def check_settings(config: RunConfig, folder: RunFolder, *, resume: bool) -> torch.device:
    """Check everything that needs neither data nor a model.

    Args:
        config: The settings of a run or a queue, with those that follow from the size of the model.
        folder: Where it will write.
        resume: Whether `folder` may contain a run of the same settings.

    Returns:
        The device to use.

    Raises:
        EffaceError: Settings cannot be used here, or `folder` contains something else.
    """
    folder.check(config, resume=resume, filled=True)
    device = device_for(config.device)
    check_can_train(config.train, device)
    reset_peak_memory(device)
    if config.downstream is not None:
        if distributed.launched_world_size() > 1:
            raise EffaceError(
                "downstream tasks are scored in one process; leave downstream out, and score the unlearned model with "
                "efface downstream"
            )
        check_tasks(config.downstream)
    return device


def open_trainable_model(config: RunConfig, device: torch.device, reporter: Reporter) -> tuple[OpenedModel, Objective]:
    """Load the model before unlearning, and bind the objective.

    Args:
        config: The settings of a run or a queue.
        device: Where to load the model.
        reporter: Gets warnings about the model.

    Raises:
        EffaceError: The model or the objective cannot be used, or not together.
    """
    custom = custom_objectives(config.plugins)
    bound = objective(config.method, config, custom, seed=config.seed)
    check_zero(config.train, whole=bound.last_layer is None)
    opened = open_model(
        config.model,
        config.text,
        tokenizer=config.tokenizer,
        device=device,
        reporter=reporter,
        evaluate=config.evaluate,
    )
    check_layers(opened.model, bound.layers)
    check_trainable_weights(opened.source, opened.model, config.train)
    if config.train.retain_bound is not None and not bound.retain:
        raise EffaceError(
            f"train.retain_bound bounds the retain loss, and method {bound.name} has none; use {bound.name}+gd, or "
            "leave train.retain_bound out"
        )
    if config.downstream is not None:
        check_template(config.downstream, opened.tokenizer)
    if custom:
        check_custom_objective(bound, vocabulary=vocabulary_size(opened.model), device=device)
    return opened, bound


def _warn_about_method(config: RunConfig, bound: Objective, reporter: Reporter) -> None:
    """Warn about settings that the method does not use, and about a method without a retain term."""
    if unused := [each.name for each in custom_objectives(config.plugins) if each.name not in bound.name.split("+")]:
        reporter.on_warning(f"method {bound.name} does not use the plug-in {', '.join(unused)}")
    if not bound.retain:
        reporter.on_warning(
            f"method {bound.name} only forgets: it has no retain term, and the model will lose more than the forget "
            f"set; {bound.name}+gd uses a retain set: data.retain=FILE or data.retain=model-answers"
        )
    if config.reference is not None and not bound.sequence_reference_views and not bound.needs_distribution:
        reporter.on_warning(f"method {bound.name} has no reference model; reference={config.reference} is not used")


def _manifest(
    config: RunConfig,
    task: Task,
    opened: OpenedModel,
    plan: UnlearningPlan,
    adapter: StartingAdapter | None,
    *,
    device: torch.device,
    defaults: dict[str, str],
) -> Manifest:
    return make_manifest(
        seed=config.seed,
        device=device,
        precision=f"{precision(plan.config, device)}, evaluation {dtype_name(opened.model.dtype)}",
        optimizer=plan.config.optimizer,
        method=config.method,
        data=task.sources,
        defaults=defaults,
        splits=_splits(task),
        plugins=config.plugins,
        tasks=task_files(config.downstream),
        model=config.model,
        model_sha256=opened.sha256,
        parameters=opened.model.num_parameters(),
        tokenizer=opened.named_tokenizer,
        text=opened.formatter.recorded_settings,
        adapter=adapter_origin(config.model, opened, config.train.lora, adapter),
        notes=plan.reference.notes,
    )


def _splits(task: Task) -> dict[str, int]:
    """The number of items of each part of the data."""
    evaluated = {f"evaluation/{each.name}": len(each.items) for each in task.evaluation}
    return {"forget": len(task.forget), "retain": len(task.retain), **evaluated}
