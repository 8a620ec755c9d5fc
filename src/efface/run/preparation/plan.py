"""The data, the objective and the opened model of a run -> what it trains, on what, and how."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from efface.artifacts import Manifest
from efface.config.commands import RunConfig
from efface.models.auto_optimizer import resolve_optimizer
from efface.models.folder import load_model_config
from efface.models.open import OpenedModel
from efface.objectives.terms import Objective
from efface.run.preparation.starting_adapter import StartingAdapter
from efface.run.unlearning_plan import ReferenceModel, UnlearningPlan
from efface.schema import Task
from efface.text.formatter import PromptFormatter
from efface.train.batches.examples import check_task, most_bytes, unlearning_examples
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.sampler import anchor_items, sample_batches
from efface.train.batches.schedule import epoch_ends, last_step, make_schedule
from efface.train.watch import Watch, watch_task


def unlearning_plan(
    task: Task,
    bound: Objective,
    config: RunConfig,
    opened: OpenedModel,
    *,
    reference: ReferenceModel,
    adapter: StartingAdapter | None,
    device: torch.device,
    earlier: Manifest | None,
) -> UnlearningPlan:
    """What a run trains.

    Args:
        task: The data of one request, complete.
        bound: The objective.
        config: The run's settings.
        opened: The model before unlearning.
        reference: What the objective compares with.
        adapter: The adapter that is trained further; None for a new one, or where all weights are trained.
        device: Where to train.
        earlier: The manifest of the run that is resumed, whose optimizer is used.

    Raises:
        EffaceError: The data does not fit the objective, or an item is too long.
    """
    items = len(anchor_items(task, config.train))
    return UnlearningPlan(
        model=config.model if adapter is None else adapter.origin.base,
        source=opened.source if adapter is None else adapter.base,
        adapter=None if adapter is None else adapter.folder,
        tokenizer=opened.tokenizer,
        reference=reference,
        objective=bound,
        steps=training_steps(task, bound, config, opened.formatter),
        schedule=make_schedule(items, config.train),
        last_step=last_step(items, config.train),
        watch=_watch(task, config, opened.formatter),
        config=resolve_optimizer(config.train, load_model_config(opened.source), device, earlier=earlier),
        seed=config.seed,
    )


def training_steps(
    task: Task, bound: Objective, config: RunConfig, formatter: PromptFormatter
) -> Sequence[Sequence[TrainingExample]]:
    """What each optimizer step trains on.

    Args:
        task: The data of one request, complete.
        bound: The objective.
        config: Settings of training and the seed.
        formatter: Tokenizes the items.

    Raises:
        EffaceError: The data does not fit the objective, or an item is too long.
    """
    check_task(task, bound)
    return unlearning_examples(
        sample_batches(task, config.train, config.seed),
        bound.views,
        formatter,
        row_lengths=bound.row_lengths,
        max_row_length=config.train.max_row_length,
        padding_attends=config.train.padding_attention == "text",
        fixed_answers=bound.fixed_answers,
        most_bytes=most_bytes([*task.forget, *task.retain], [*task.refusals, *bound.fixed_answers.values()]),
    )


def _watch(task: Task, config: RunConfig, formatter: PromptFormatter) -> Watch | None:
    if not config.train.watch:
        return None
    ends = epoch_ends(len(anchor_items(task, config.train)), config.train)
    return watch_task(task, formatter, epoch_ends=ends, beta=config.beta, seed=config.seed)
