"""Training: the learning rate, the seed, micro-batches, precision and memory."""

from __future__ import annotations

import json

import pytest
import torch

from efface import distributed
from efface.distributed import DistributedError
from efface.errors import EffaceError
from efface.objectives.method import fine_tuning
from efface.objectives.terms import Reference
from efface.train import loop
from efface.train.batches.schedule import Schedule
from efface.train.batches.token_budget import TokenBudget
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.step import batch_losses
from support.training import GA_GD, LORA, TRAIN, assert_equal, largest_difference, weights

# The schedule


def test_learning_rates_by_hand(train):
    _, _, logs = train(TrainConfig(lr=1.0e-3), schedule=Schedule(steps=6, warmup_steps=2, steps_per_epoch=2))
    assert [log.lr for log in logs] == pytest.approx([0, 0.5e-3, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    assert [log.step for log in logs] == [1, 2, 3, 4, 5, 6]
    assert {log.steps for log in logs} == {6}


def test_without_warm_up_the_first_step_counts(train):
    _, _, logs = train(TrainConfig(lr=1.0e-3), schedule=Schedule(steps=4, warmup_steps=0, steps_per_epoch=1))
    assert [log.lr for log in logs] == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])


def test_the_first_step_is_adamw_by_hand(train, tiny_llama, random_steps):
    """Decoupled decay of matrices but not of norms, then a step of lr in the gradient's direction."""
    config = TrainConfig(lr=1e-3, weight_decay=0.5)
    steps = random_steps(1, 3, *GA_GD.views)
    before = tiny_llama()
    losses = batch_losses(before, GA_GD, steps[0], Reference())
    (0.1 * losses.forget + losses.retain).backward()
    after, _, [log] = train(config, schedule=Schedule(steps=1, warmup_steps=0, steps_per_epoch=1), steps=steps)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        decay = 1 - 1e-3 * 0.5 if old.ndim == 2 else 1.0
        direction = old.grad / (old.grad.abs() + 1e-8)  # Adam's first step, bias corrected
        torch.testing.assert_close(new, old * decay - 1e-3 * direction, atol=1e-7, rtol=1e-5, msg=name)
    assert log.loss == pytest.approx(0.1 * log.forget + log.retain)
    assert log.forget == pytest.approx(losses.forget.item())
    norm = torch.cat([parameter.grad.flatten() for parameter in before.parameters()]).norm()
    assert log.grad_norm == pytest.approx(norm.item(), rel=1e-5)
    assert log.tokens == sum(len(sequence) for example in steps[0] for sequence in example.values())


@pytest.mark.parametrize("tied", [False, True])
def test_every_weight_is_in_one_group_and_norms_do_not_decay(train, tied):
    model, trainer, _ = train(schedule=Schedule(1, 0, 1), tied=tied)
    decayed, others = trainer.optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert {id(p) for p in others["params"]} == {id(p) for n, p in model.named_parameters() if "norm" in n}
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))


def test_gradients_are_clipped_only_if_set(train):
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
    if lora is not None:  # full fine-tuning draws nothing in training: its seed decides the batches
        assert largest_difference(first, weights(train(config, seed=4)[0])) > 1e-4


def test_dropout_is_on_in_training(train):
    dropped = train(TRAIN.model_copy(update={"lora": LORA}))[2]
    plain = train(TRAIN.model_copy(update={"lora": LoRAConfig(r=2, dropout=0)}))[2]
    assert dropped[0].loss == plain[0].loss  # the adapters start at zero
    assert dropped[-1].loss != plain[-1].loss


def test_every_step_draws_other_masks(train, monkeypatch):
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


# Micro-batches


def test_micro_batches_give_the_same_weights(train):
    whole = weights(train(TRAIN.model_copy(update={"max_tokens_per_forward": 10_000}))[0])
    for budget in (1, 60):
        cut = weights(train(TRAIN.model_copy(update={"max_tokens_per_forward": budget}))[0])
        assert largest_difference(cut, whole) < 1e-5


def test_micro_batches_give_the_same_weights_in_double_precision(train):
    """Except for norms, which are float32 in any precision: their rounding makes 2e-8 in 20 steps of lr 1e-2."""
    schedule = Schedule(steps=20, warmup_steps=2, steps_per_epoch=5)
    whole, cut = (
        weights(
            train(TRAIN.model_copy(update={"max_tokens_per_forward": n}), schedule=schedule, dtype=torch.float64)[0]
        )
        for n in (10_000, 1)
    )
    assert largest_difference(cut, whole) < 1e-7


@pytest.mark.parametrize("lora", [None, LoRAConfig(r=2, dropout=0.3)], ids=["full", "lora"])
def test_recomputed_activations_give_the_same_weights(train, lora):
    plain = TRAIN.model_copy(update={"lora": lora})
    recomputed = plain.model_copy(update={"gradient_checkpointing": True})
    assert largest_difference(weights(train(recomputed)[0]), weights(train(plain)[0])) < 1e-5


def test_each_step_reads_its_examples_once_also_when_resumed(train, random_steps, monkeypatch):
    seen = []

    def watched(model, bound, examples, reference, **settings):
        seen.append([example["forget"].id for example in examples])
        return batch_losses(model, bound, examples, reference, **settings)

    monkeypatch.setattr(loop, "batch_losses", watched)
    steps = random_steps(6, 3, *GA_GD.views)
    train(steps=steps, stop_after=4, config=TRAIN.model_copy(update={"save_steps": 3}))
    train(steps=steps, resume=True)
    ids = [[example["forget"].id for example in step] for step in steps]
    assert seen == [*ids[:4], *ids[3:]]


# Precision


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
    for precision, name in (("bf16", "bf16 autocast"), ("float32", "float32"), ("bf16", "bf16 autocast")):
        _, trainer, _ = train(TRAIN.model_copy(update={"precision": precision}))
        assert trainer.computation == name
        with trainer.computing():
            assert torch.is_autocast_enabled("cpu") == (precision == "bf16")
        assert not torch.is_autocast_enabled("cpu")


def test_the_model_is_left_in_evaluation_mode_and_without_gradients(train):
    model, _, _ = train()
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_fine_tuning_learns(train, random_steps):
    steps = random_steps(1, 4, "retain") * 40
    _, _, logs = train(bound=fine_tuning(), steps=steps, schedule=Schedule(40, 0, 40))
    assert logs[-1].loss < 0.3 * logs[0].loss
    assert {log.forget for log in logs} == {0.0}


def test_logs_are_plain_json(train):
    _, _, logs = train(schedule=Schedule(1, 0, 1))
    assert json.loads(json.dumps(vars(logs[0])))["step"] == 1


# A GPU without memory


def out_of_memory_above(limit, calls):
    """A `batch_losses` that runs out of memory unless a step is cut into `limit` micro-batches."""

    def fails(model, bound, examples, reference, *, max_tokens_per_forward, backward, **settings):
        calls.append(max_tokens_per_forward)

        def backward_within_memory(loss):
            backward(loss)
            parts = -(-sum(len(s) for e in examples for s in e.values()) // max_tokens_per_forward)
            if parts < limit:
                raise torch.OutOfMemoryError

        return batch_losses(
            model,
            bound,
            examples,
            reference,
            max_tokens_per_forward=max_tokens_per_forward,
            backward=backward_within_memory,
            **settings,
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
    config = TRAIN.model_copy(update={"lora": LORA, "max_tokens_per_forward": 1})
    plain = weights(train(config, folder=tmp_path / "plain")[0])
    calls = []

    def fails_once(*arguments, **settings):
        losses = batch_losses(*arguments, **settings)
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError
        return losses

    monkeypatch.setattr(loop, "batch_losses", fails_once)
    monkeypatch.setattr(TokenBudget, "shrink", lambda *_: True)
    assert_equal(weights(train(config)[0]), plain)


def test_one_example_that_does_not_fit_is_an_error(train, monkeypatch):
    calls = []
    monkeypatch.setattr(loop, "batch_losses", out_of_memory_above(1000, calls))
    with pytest.raises(EffaceError, match=r"one example does not fit in the GPU's memory; .*train\.lora"):
        train()
    assert 2 <= len(calls) <= 5  # three examples cannot be cut further, and then gradient checkpointing is tried


def test_one_of_several_processes_without_memory_leaves_a_smaller_budget_to_resume_with(train, tmp_path, monkeypatch):
    """The others wait for it in the middle of a step: it cannot repeat the step alone."""

    def fails(*_, **__):
        context.setattr(distributed, "_group", distributed._Group(1, 2))
        raise torch.OutOfMemoryError

    with monkeypatch.context() as context:
        context.setattr(loop, "batch_losses", fails)
        with pytest.raises(
            DistributedError, match=r"process 1 of 2 ran out of its GPU's memory; continue with --resume"
        ):
            train()
    reduced = json.loads((tmp_path / "checkpoints" / "token_budget.json").read_text())["tokens"]
    _, trainer, logs = train(resume=True)
    assert trainer.budget.tokens == reduced < 200
    assert len(logs) == 6


def test_an_optimizer_that_does_not_fit_is_an_error(train, monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.optim.AdamW, "step", fails)
    with pytest.raises(EffaceError, match="the optimizer's state does not fit in the GPU's memory; "):
        train()


def test_what_a_kill_left_is_removed_before_training(train, tmp_path):
    partial = tmp_path / "checkpoints" / ".step-000099.partial"
    partial.mkdir(parents=True)
    train(folder=tmp_path)
    assert not partial.exists()
