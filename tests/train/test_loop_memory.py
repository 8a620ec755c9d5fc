"""Trainings whose GPU runs out of memory."""

from __future__ import annotations

import json

import pytest
import torch

from efface import distributed
from efface.distributed import DistributedError
from efface.errors import EffaceError
from efface.train import loop
from efface.train.step import batch_losses
from efface.train.token_budget import TokenBudget
from support.trained import LORA, TRAIN, assert_equal, largest_difference, weights


def out_of_memory_above(limit, calls):
    """A stand-in for a GPU that holds so many tokens of a micro-batch."""

    def fails(model, bound, examples, reference, *, max_tokens_per_forward, backward, placement):
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
    monkeypatch.setattr(TokenBudget, "smaller", lambda *_: True)
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
        context.setattr(distributed, "_group", distributed._Group(1, 2))
        raise torch.OutOfMemoryError

    with monkeypatch.context() as context:
        context.setattr(loop, "batch_losses", fails)
        with pytest.raises(DistributedError, match=r"process 1 of 2 ran out of its GPU's memory; go on with --resume"):
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
