"""Training: the schedule, the seed, cuts, kills, and everything that can go wrong between two steps."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from efface import processes
from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import fine_tuning, objective
from efface.objectives.terms import Reference
from efface.processes import ProcessError
from efface.reference.cached import CachedLogprobs
from efface.reference.live import LiveReference
from efface.run.adapters import with_adapters
from efface.train import checkpoint, loop
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.loop import Trainer
from efface.train.memory import Budget
from efface.train.plan import Schedule
from efface.train.step import batch_losses

PLAN = Schedule(steps=6, warmup=2, per_epoch=3)
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


@pytest.fixture
def train(tmp_path, tiny_llama, random_steps):
    """Train the tiny model, one call a training; gives the model, its trainer and the log of each step."""

    def run(
        config=TRAIN,
        bound=GA_GD,
        *,
        seed=0,
        plan=PLAN,
        steps=None,
        stop_after=None,
        resume=False,
        folder=tmp_path,
        reference=Reference(),  # noqa: B008 - frozen
        on_trainer=None,
        **shape,
    ):
        model = tiny_llama(**shape)
        if config.lora is not None:
            model = with_adapters(model, config.lora, seed=seed)
        trainer = Trainer(model, bound, config, plan, seed=seed, folder=folder)
        if on_trainer is not None:
            on_trainer(trainer)
        logs = []

        def on_step(log):
            logs.append(log)
            if log.step == stop_after:
                raise Killed

        if steps is None:
            steps = random_steps(plan.steps, 3, *bound.views)
        if callable(reference):
            reference = reference(trainer, steps)
        try:
            trainer.run(steps, reference, resume=resume, on_step=on_step)
        except Killed:
            assert stop_after is not None
        return model, trainer, logs

    return run


def cached_and_live(trainer, steps):
    views = trainer.objective.sequence_reference_views
    needed = [example[view] for step in steps for example in step for view in views]
    adapters = trainer.config.lora is not None
    assert adapters, "only adapters can be switched off"
    sequences = CachedLogprobs.compute(trainer.model, needed, token_budget=100) if needed else None
    return Reference(sequences, LiveReference(trainer.model, adapter_off=True))


# The schedule


def test_learning_rates_by_hand(train):
    _, _, logs = train(TrainConfig(lr=1.0e-3), plan=Schedule(steps=6, warmup=2, per_epoch=2))
    assert [log.lr for log in logs] == pytest.approx([0, 0.5e-3, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    assert [log.step for log in logs] == [1, 2, 3, 4, 5, 6]
    assert {log.steps for log in logs} == {6}


def test_without_warm_up_the_first_step_counts(train):
    _, _, logs = train(TrainConfig(lr=1.0e-3), plan=Schedule(steps=4, warmup=0, per_epoch=1))
    assert [log.lr for log in logs] == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])


def test_the_first_step_is_adamw_by_hand(train, tiny_llama, random_steps):
    """Decoupled decay of matrices but not of norms, then a step of lr in the gradient's direction."""
    config = TrainConfig(lr=1e-3, weight_decay=0.5)
    steps = random_steps(1, 3, *GA_GD.views)
    before = tiny_llama()
    losses = batch_losses(before, GA_GD, steps[0], Reference())
    (0.1 * losses.forget + losses.retain).backward()
    after, _, [log] = train(config, plan=Schedule(steps=1, warmup=0, per_epoch=1), steps=steps)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        kept = 1 - 1e-3 * 0.5 if old.ndim == 2 else 1.0
        direction = old.grad / (old.grad.abs() + 1e-8)  # Adam's first step, bias corrected
        torch.testing.assert_close(new, old * kept - 1e-3 * direction, atol=1e-7, rtol=1e-5, msg=name)
    assert log.loss == pytest.approx(0.1 * log.forget + log.retain)
    assert log.forget == pytest.approx(losses.forget.item())
    norm = torch.cat([parameter.grad.flatten() for parameter in before.parameters()]).norm()
    assert log.grad_norm == pytest.approx(norm.item(), rel=1e-5)
    assert log.tokens == sum(len(sequence) for example in steps[0] for sequence in example.values())


@pytest.mark.parametrize("tied", [False, True])
def test_every_weight_is_in_one_group_and_norms_do_not_decay(train, tied):
    model, trainer, _ = train(plan=Schedule(1, 0, 1), tied=tied)
    decayed, others = trainer.optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert {id(p) for p in others["params"]} == {id(p) for n, p in model.named_parameters() if "norm" in n}
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))


def test_gradients_are_clipped_only_when_asked(train):
    """The norm in the log is the one before clipping."""
    small, _, small_logs = train(TrainConfig(lr=1e-2, max_grad_norm=1e-9))
    plain, _, logs = train()
    assert small_logs[0].grad_norm == pytest.approx(logs[0].grad_norm)
    start = weights(train(TrainConfig(lr=1e-30))[0])
    # AdamW divides by the gradient's size, up to its epsilon: far below it, steps become small
    assert largest_difference(weights(small), start) < 0.3 * largest_difference(weights(plain), start)


# The seed


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_the_seed_decides_the_weights(train, lora):
    config = TRAIN.model_copy(update={"lora": lora})
    first, second = (weights(train(config, seed=3)[0]) for _ in range(2))
    assert_equal(first, second)
    if lora is not None:  # full fine-tuning has no randomness of its own: its seed is in the plan
        assert largest_difference(first, weights(train(config, seed=4)[0])) > 1e-4


def test_dropout_is_on_in_training(train):
    dropped = train(TRAIN.model_copy(update={"lora": LORA}))[2]
    plain = train(TRAIN.model_copy(update={"lora": LoRAConfig(r=2, dropout=0)}))[2]
    assert dropped[0].loss == plain[0].loss  # the adapters start from nothing
    assert dropped[-1].loss != plain[-1].loss


def test_every_step_draws_masks_of_its_own(train, monkeypatch):
    seeds = []

    def watched(*arguments, **settings):
        seeds.append(torch.initial_seed())
        return batch_losses(*arguments, **settings)

    monkeypatch.setattr(loop, "batch_losses", watched)
    for seed in (0, 1, 0):
        train(seed=seed)
    assert len(set(seeds)) == 12
    assert seeds[:6] == seeds[12:]


def test_the_global_generator_is_left_alone(train):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(TRAIN.model_copy(update={"lora": LORA}))
    assert torch.equal(torch.rand(3), expected)


# Cuts


def test_micro_batches_give_the_same_weights(train):
    whole = weights(train(TRAIN.model_copy(update={"token_budget": 10_000}))[0])
    for budget in (1, 60):
        cut = weights(train(TRAIN.model_copy(update={"token_budget": budget}))[0])
        assert largest_difference(cut, whole) < 1e-5


def test_micro_batches_give_the_same_weights_to_1e_9_in_double_precision(train):
    plan = Schedule(steps=20, warmup=2, per_epoch=5)
    whole, cut = (
        weights(train(TRAIN.model_copy(update={"token_budget": n}), plan=plan, dtype=torch.float64)[0])
        for n in (10_000, 1)
    )
    assert largest_difference(cut, whole) < 1e-9


@pytest.mark.parametrize("lora", [None, LoRAConfig(r=2, dropout=0.3)], ids=["full", "lora"])
def test_recomputed_activations_give_the_same_weights(train, lora):
    plain = TRAIN.model_copy(update={"lora": lora})
    recomputed = plain.model_copy(update={"gradient_checkpointing": True})
    assert largest_difference(weights(train(recomputed)[0]), weights(train(plain)[0])) < 1e-5


def test_each_step_sees_its_own_examples_and_each_once(train, random_steps, monkeypatch):
    seen = []

    def watched(model, bound, examples, reference, **settings):
        seen.append([example["forget"].id for example in examples])
        return batch_losses(model, bound, examples, reference, **settings)

    monkeypatch.setattr(loop, "batch_losses", watched)
    steps = random_steps(6, 3, *GA_GD.views)
    train(steps=steps, stop_after=4, config=TRAIN.model_copy(update={"checkpoint_every": 3}))
    train(steps=steps, resume=True)
    ids = [[example["forget"].id for example in step] for step in steps]
    assert seen == [*ids[:4], *ids[3:]]


# Kills


def test_checkpoints_come_once_an_epoch_or_as_told(train, monkeypatch, tmp_path):
    saved = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda a, p, f, step: (saved.append(step), save(a, p, f, step)))
    train(plan=Schedule(steps=7, warmup=0, per_epoch=3))
    assert saved == [3, 6]
    saved.clear()
    train(TRAIN.model_copy(update={"checkpoint_every": 2}), folder=tmp_path / "other")
    assert saved == [2, 4]  # none at the end: the model itself is saved there


RESUMED = {
    "full": (TRAIN, "ga+gd", {}),
    "tied": (TRAIN, "ga+gd", {"tied": True}),
    "clipped": (TRAIN.model_copy(update={"max_grad_norm": 0.1}), "idk+ap", {}),
    "bf16": (TRAIN.model_copy(update={"precision": "bf16"}), "me+gd", {}),
    "lora": (TRAIN.model_copy(update={"lora": LORA}), "me+gd", {}),
    "lora with references": (TRAIN.model_copy(update={"lora": LORA}), "npo+kl", {"reference": cached_and_live}),
}


def test_the_global_generators_go_on_as_if_nothing_was_trained(train):
    """A checkpoint holds their states as they were in another process."""

    def drawn():
        return random.random(), np.random.random(), torch.rand(()).item()

    def seeded(number):
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)

    train(stop_after=5)
    seeded(7)
    expected = drawn()
    seeded(7)
    train(resume=True)
    assert drawn() == expected


@pytest.mark.parametrize("case", RESUMED)
@pytest.mark.parametrize("stop_after", [1, 4])
def test_resumed_is_the_same_as_never_stopped(train, tmp_path, case, stop_after):
    config, method, shape = RESUMED[case]
    config = config.model_copy(update={"checkpoint_every": 2})
    bound = objective(method, ObjectiveConfig())
    whole, _, whole_logs = train(config, bound, folder=tmp_path / "whole", **shape)
    train(config, bound, folder=tmp_path / "cut", stop_after=stop_after, **shape)
    torch.manual_seed(stop_after)  # whatever another process did before
    resumed, _, logs = train(config, bound, folder=tmp_path / "cut", resume=True, **shape)
    assert_equal(weights(resumed), weights(whole))
    done = (stop_after - 1) // 2 * 2  # killed before the checkpoint of its last step
    same = [replace(log, seconds=0) for log in whole_logs[done:]]
    assert [replace(log, seconds=0) for log in logs] == same


def test_a_resumed_run_cuts_its_batches_as_before(train, monkeypatch):
    """Free memory differs from hour to hour; dropout masks and the last digits depend on the cut."""
    config = TRAIN.model_copy(update={"lora": LORA, "checkpoint_every": 2})
    monkeypatch.setattr(loop, "budget_for", lambda *_: Budget(60))
    train(config, stop_after=3)
    monkeypatch.setattr(loop, "budget_for", lambda *_: Budget(10_000))
    assert train(config, resume=True)[1].budget.tokens == 60


# Divergence


def test_nan_stops_before_the_step(train, tmp_path, monkeypatch):
    """The sentence names step, objective and items; the last checkpoint stays and loads."""
    config = TRAIN.model_copy(update={"checkpoint_every": 2})
    good = weights(train(config, stop_after=4, folder=tmp_path / "good")[0])
    calls = 0

    def poisoned(*arguments, **settings):
        nonlocal calls
        calls += 1
        losses = batch_losses(*arguments, **settings)
        return replace(losses, forget=losses.forget * float("nan")) if calls == 5 else losses

    monkeypatch.setattr(loop, "batch_losses", poisoned)
    seen = []
    with pytest.raises(EffaceError) as raised:
        train(config, on_trainer=seen.append)
    message = str(raised.value)
    kept = tmp_path / "checkpoints" / "step-000002"
    assert message.startswith("step 5 of 6: ga+gd is not finite (forget nan, retain ")
    assert f"the checkpoint of step 2 stays in {kept}; lower train.lr, or look at the items: " in message
    assert all(f"5/{view}/{n}" in message for view in GA_GD.views for n in range(3))
    assert "4/forget" not in message
    assert "\n" not in message
    assert_equal(weights(seen[0].model), good)
    assert [path.name for path in kept.parent.iterdir()] == ["step-000002"]
    monkeypatch.setattr(loop, "batch_losses", batch_losses)
    resumed = train(config, resume=True)[0]
    assert_equal(weights(resumed), weights(train(config, folder=tmp_path / "whole")[0]))


def test_an_infinite_gradient_stops_too(train, monkeypatch):
    def exploding(model, *arguments, **settings):
        losses = batch_losses(model, *arguments, **settings)
        next(model.parameters()).grad[0, 0] = float("inf")
        return losses

    monkeypatch.setattr(loop, "batch_losses", exploding)
    with pytest.raises(EffaceError, match=r"step 1 of 6: ga\+gd is not finite .*gradient norm inf.*no checkpoint was"):
        train()


def test_a_checkpoint_is_one_that_gave_finite_losses(train, tmp_path):
    """An absurd learning rate leaves finite weights whose losses are not: these are no good checkpoint."""
    with pytest.raises(EffaceError, match=r"step 2 of 6: ga\+gd is not finite .*; no checkpoint was written yet"):
        train(TrainConfig(lr=1e25, checkpoint_every=1), plan=Schedule(6, 0, 1))
    assert not (tmp_path / "checkpoints").exists()


# Memory


def out_of_memory_above(limit, calls):
    """A stand-in for a GPU that holds so many tokens of a micro-batch."""

    def fails(model, bound, examples, reference, *, token_budget, backward, placement):
        calls.append(token_budget)

        def backward_within_memory(loss):
            backward(loss)
            parts = -(-sum(len(s) for e in examples for s in e.values()) // token_budget)
            if parts < limit:
                raise torch.OutOfMemoryError

        return batch_losses(
            model, bound, examples, reference, token_budget=token_budget, backward=backward_within_memory
        )

    return fails


def test_out_of_memory_repeats_the_step_in_smaller_parts(train, tmp_path, monkeypatch):
    plain = weights(train(folder=tmp_path / "plain")[0])
    calls = []
    monkeypatch.setattr(loop, "batch_losses", out_of_memory_above(2, calls))
    model, trainer, logs = train()
    assert len(logs) == 6
    assert len(calls) == 7  # the first step twice, then never again
    assert trainer.budget.tokens == calls[-1] < 200
    assert largest_difference(weights(model), plain) < 1e-5


def test_dropout_masks_are_drawn_again_when_a_step_is_repeated(train, tmp_path, monkeypatch):
    config = TRAIN.model_copy(update={"lora": LORA, "token_budget": 1})
    plain = weights(train(config, folder=tmp_path / "plain")[0])
    calls = []

    def fails_once(*arguments, **settings):
        losses = batch_losses(*arguments, **settings)
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError
        return losses

    monkeypatch.setattr(loop, "batch_losses", fails_once)
    monkeypatch.setattr(Budget, "smaller", lambda *_: True)
    assert_equal(weights(train(config)[0]), plain)


def test_one_example_that_does_not_fit_is_said_to_be(train, monkeypatch):
    calls = []
    monkeypatch.setattr(loop, "batch_losses", out_of_memory_above(1000, calls))
    with pytest.raises(EffaceError, match="memory does not hold one example; train adapters"):
        train()
    assert 2 <= len(calls) <= 5  # three examples cannot be cut more often, and then checkpointing is tried


def test_one_of_several_processes_without_memory_leaves_a_smaller_budget_to_go_on_with(train, tmp_path, monkeypatch):
    """In the middle of a step its partners wait for it: it cannot repeat the step alone."""

    def fails(*_, **__):
        context.setattr(processes, "_group", processes._Group(1, 2))
        raise torch.OutOfMemoryError

    with monkeypatch.context() as context:
        context.setattr(loop, "batch_losses", fails)
        with pytest.raises(ProcessError, match=r"process 1 of 2 ran out of its GPU's memory; go on with --resume"):
            train()
    kept = json.loads((tmp_path / "checkpoints" / "token_budget.json").read_text())["tokens"]
    _, trainer, logs = train(resume=True)
    assert trainer.budget.tokens == kept < 200
    assert len(logs) == 6


def test_no_room_for_the_optimizer_is_said_too(train, monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.optim.AdamW, "step", fails)
    with pytest.raises(EffaceError, match="memory does not hold the optimizer's state; "):
        train()


# Precision and accelerate


def test_bf16_keeps_float32_weights_and_leaves_the_model_as_it_was(train):
    model, trainer, logs = train(TRAIN.model_copy(update={"precision": "bf16"}))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.forward.__func__ is type(model).forward
    states = trainer.optimizer.state.values()
    assert {state["exp_avg"].dtype for state in states} == {torch.float32}
    plain = train()[2]
    assert logs[0].loss == pytest.approx(plain[0].loss, rel=1e-2)
    assert logs[0].loss != plain[0].loss


def test_trainings_of_either_precision_follow_each_other_in_one_process(train):
    """Accelerate keeps one state for all accelerators of a process."""
    for precision in ("bf16", "float32", "bf16"):
        _, trainer, _ = train(TRAIN.model_copy(update={"precision": precision}))
        assert trainer.accelerator.mixed_precision == ("bf16" if precision == "bf16" else "no")


def test_the_model_is_left_as_it_would_come_from_disk(train):
    model, _, _ = train()
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_fine_tuning_learns(train, random_steps):
    steps = random_steps(1, 4, "retain") * 40
    _, _, logs = train(bound=fine_tuning(), steps=steps, plan=Schedule(40, 0, 40))
    assert logs[-1].loss < 0.3 * logs[0].loss
    assert {log.forget for log in logs} == {0.0}


def test_a_tracker_of_accelerate_gets_settings_and_losses(train, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, _, logs = train(TRAIN.model_copy(update={"tracker": "tensorboard", "lora": LORA}))
    events = EventAccumulator(str(tmp_path / "tracker" / "efface"))
    events.Reload()
    losses = events.Scalars("loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in losses] == pytest.approx([log.loss for log in logs])
    assert {"forget", "retain", "grad_norm", "lr", "tokens"} <= set(events.Tags()["scalars"])
    [settings] = (tmp_path / "tracker").rglob("hparams.yml")
    assert "lora.r: 2" in settings.read_text()


def test_logs_are_plain_json(train):
    _, _, logs = train(plan=Schedule(1, 0, 1))
    assert json.loads(json.dumps(vars(logs[0])))["step"] == 1
