"""What one run and a queue of them check alike, before anything is written."""

from __future__ import annotations

import torch

from efface import distributed
from efface.config.commands import RunConfig
from efface.config.plugins import custom_objectives
from efface.downstream.harness import check_template
from efface.downstream.tasks import check_tasks
from efface.errors import EffaceError
from efface.hardware.device import device_for, reset_peak_memory
from efface.models.open import OpenedModel, open_model
from efface.models.quantization import check_trainable_weights
from efface.objectives.custom import check_custom_objective
from efface.objectives.method import objective
from efface.objectives.terms import Objective
from efface.packing.forward import vocabulary_size
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.run.training import check_can_train


def check_settings(config: RunConfig, folder: RunFolder, *, resume: bool) -> torch.device:
    """The device to use, and all checks that need neither data nor a model. Raises `EffaceError`."""
    folder.check(config, resume=resume)
    device = device_for(config.device)
    check_can_train(config.train, device)
    reset_peak_memory(device)
    if config.downstream is not None:
        if distributed.launched_world_size() > 1:
            raise EffaceError(
                "downstream tasks are scored in one process; leave downstream out, and score the model that the run "
                "leaves with efface downstream"
            )
        check_tasks(config.downstream)
    return device


def open_trainable_model(config: RunConfig, device: torch.device, reporter: Reporter) -> tuple[OpenedModel, Objective]:
    """The model to train and what trains it. Raises `EffaceError` where one cannot be used, or not with the other."""
    own = custom_objectives(config.plugins)
    bound = objective(config.method, config, own)
    precision = config.evaluate.precision
    opened = open_model(config.model, config.text, device=device, reporter=reporter, precision=precision)
    check_trainable_weights(opened.source, opened.model, config.train)
    if config.downstream is not None:
        check_template(config.downstream, opened.tokenizer)
    if own:
        check_custom_objective(bound, vocabulary=vocabulary_size(opened.model), device=device)
    return opened, bound
