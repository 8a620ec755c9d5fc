"""Sharpness-aware unlearning: a plain implementation, a resumed training, precision, and what is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from efface.config.commands import FinetuneConfig
from efface.config.parse import validate_config
from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.train.batches.schedule import Schedule
from efface.train.config import SAMConfig, TrainConfig
from efface.train.optimizer.optimizer import state_bytes
from efface.train.step import batch_losses
from support.messages import assert_names
from support.training import GA_GD, TRAIN, assert_equal, largest_difference, weights

SAM = TRAIN.model_copy(update={"sam": SAMConfig(rho=0.5)})
GA = objective("ga", ObjectiveConfig())


def step_gradients(train, config, bound, steps, **shape):
    """The weights before the only step, the gradients with which it is made, and its log."""
    kept = {}

    def keep(trainer):
        kept["weights"] = [each.detach().clone() for each in trainer.model.parameters()]
        trainer.optimizer.register_step_pre_hook(
            lambda *_: kept.update(gradients=[each.grad.clone() for each in trainer.model.parameters()])
        )

    _, _, [log] = train(config, bound, schedule=Schedule(1, 0, 1), steps=steps, on_trainer=keep, **shape)
    return kept["weights"], kept["gradients"], log


def plain_gradients(model, bound, examples, rho):
    """Two models beside each other: one at the weights, one that was moved."""
    parameters = list(model.parameters())

    def gradients(side):
        losses = batch_losses(model, bound, examples, Reference())
        return torch.autograd.grad(getattr(losses, side), parameters, allow_unused=True, materialize_grads=True)

    retain = gradients("retain") if bound.retain else [torch.zeros_like(each) for each in parameters]
    ascent = gradients("forget")
    norm = sum((each**2).sum() for each in ascent).sqrt() * bound.forget_coeff
    with torch.no_grad():
        for parameter, gradient in zip(parameters, ascent, strict=True):
            parameter.add_(rho * bound.forget_coeff * gradient / norm)
    moved = gradients("forget")
    return [bound.forget_coeff * f + bound.retain_coeff * r for f, r in zip(moved, retain, strict=True)]


@pytest.mark.parametrize("bound", [GA_GD, GA], ids=["ga+gd", "ga"])
@pytest.mark.parametrize("tokens", [None, 30])
def test_the_gradient_of_a_plain_implementation(train, tiny_llama, random_steps, bound, tokens):
    steps = random_steps(1, 4, *bound.views)
    config = SAM.model_copy(update={"max_tokens_per_forward": tokens})
    _, found, log = step_gradients(train, config, bound, steps, dtype=torch.float64)
    expected = plain_gradients(tiny_llama(dtype=torch.float64), bound, steps[0], 0.5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    _, without, log_without = step_gradients(train, TRAIN, bound, steps, dtype=torch.float64)
    assert max(float((one - other).abs().max()) for one, other in zip(found, without, strict=True)) > 1e-3
    assert (log.forget, log.retain) == pytest.approx((log_without.forget, log_without.retain))


def test_the_optimizer_steps_from_the_weights_that_were_moved_back(train, random_steps, tiny_llama):
    steps = random_steps(1, 3, *GA_GD.views)
    after = train(SAM.model_copy(update={"lr": 1e-30}), steps=steps, schedule=Schedule(1, 0, 1))[0]
    assert_equal(weights(after), weights(tiny_llama()))


def test_half_precision_reads_the_moved_weights(train, random_steps):
    """Autocast keeps copies of the weights."""
    steps = random_steps(1, 4, *GA.views)
    bf16 = {"precision": "bf16"}
    _, sam, _ = step_gradients(train, SAM.model_copy(update=bf16), GA, steps)
    _, exact, _ = step_gradients(train, SAM, GA, steps)
    _, plain, _ = step_gradients(train, TRAIN.model_copy(update=bf16), GA, steps)
    distance = [sum(float(((a - b) ** 2).sum()) for a, b in zip(sam, other, strict=True)) for other in (exact, plain)]
    assert distance[0] < 0.1 * distance[1]


def test_without_a_gradient_nothing_is_moved(train):
    bound = objective("ga+gd", ObjectiveConfig(forget_coeff=0))
    first, second = (weights(train(config, bound)[0]) for config in (SAM, TRAIN))
    assert largest_difference(first, second) < 1e-6


@pytest.mark.parametrize("lora", [None, {"r": 2, "dropout": 0.5}], ids=["full", "lora"])
def test_a_resumed_training_is_the_same(train, tmp_path, lora):
    config = TrainConfig(lr=1e-2, sam=SAMConfig(rho=0.1), lora=lora, save_steps=2)
    whole = weights(train(config, folder=tmp_path / "whole")[0])
    train(config, folder=tmp_path / "killed", stop_after=4)
    resumed, _, logs = train(config, folder=tmp_path / "killed", resume=True)
    assert logs[0].step > 1
    assert_equal(weights(resumed), whole)


def test_memory_has_a_copy_of_the_trained_weights():
    parameter = torch.zeros(100)
    assert state_bytes(parameter, SAM) == state_bytes(parameter, TRAIN) + parameter.nbytes


@pytest.mark.parametrize("other", [{"optimizer": "adamw8bit"}, {"sharding": "fsdp2"}])
def test_what_cannot_be_combined(other):
    with pytest.raises(ValidationError) as refused:
        TrainConfig(sam={"rho": 0.01}, **other)
    [(name, value)] = other.items()
    assert_names(str(refused.value), "sam.rho", name if name == "sharding" else f"{name}={value}")


def test_fine_tuning_has_no_forget_loss():
    with pytest.raises(EffaceError) as refused:
        validate_config(FinetuneConfig, {"model": "m", "data": "tofu-forget01", "train": {"sam": {"rho": 0.01}}})
    assert_names(str(refused.value), "sam.rho", "fine-tune")
