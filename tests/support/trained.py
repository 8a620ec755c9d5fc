"""A training of the tiny model: its settings, and what is looked at afterwards."""

from __future__ import annotations

import torch

from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.sampler import Schedule

PLAN = Schedule(steps=6, warmup_steps=2, steps_per_epoch=3)
TRAIN = TrainConfig(lr=1e-2)
LORA = LoRAConfig(r=2, dropout=0.5)
GA_GD = objective("ga+gd", ObjectiveConfig(forget_coeff=0.1))


class Killed(BaseException):
    """What a callback raises where a test ends a training early."""


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_equal(mine, theirs):
    assert mine.keys() == theirs.keys()
    different = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    assert different == []


def largest_difference(mine, theirs):
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine)


def cached_and_live(trainer, steps):
    views = trainer.objective.sequence_reference_views
    needed = [example[view] for step in steps for example in step for view in views]
    adapters = trainer.config.lora is not None
    assert adapters, "only adapters can be switched off"
    sequences = CachedLogprobs.compute(trainer.model, needed, max_tokens_per_forward=100) if needed else None
    return Reference(sequences, LiveReference(trainer.model, adapter_off=True))
