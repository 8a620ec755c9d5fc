"""Losses and gradients of a batch do not depend on how it is cut into micro-batches."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from efface.objectives.config import METHODS, KLConfig, MEConfig, ObjectiveConfig, RMUConfig
from efface.objectives.method import fine_tuning, objective
from efface.objectives.terms import Reference
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.text.sequence import TokenizedSequence
from efface.train.step import batch_losses
from support.training import in_rows

GOLDEN = Path(__file__).parents[1] / "golden"
VIEWS = ("forget", "forget_idk", "retain", "retain_idk", "forget_mismatch", "forget_alternate")
SMALL = ObjectiveConfig(rmu=RMUConfig(layer=1))
"""Settings for models of two layers."""


@cache
def model(name, dtype):
    return AutoModelForCausalLM.from_pretrained(GOLDEN / name, dtype=dtype)


def examples_of(seed, count, views=VIEWS):
    """Examples whose sequences are 2 to 50 tokens long."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    def ids(size):
        return torch.randint(2, 512, (size,), generator=generator).tolist()

    return [
        {view: TokenizedSequence(f"{view}/{n}", ids(draw(1, 20)), ids(draw(1, 30))) for view in views}
        for n in range(count)
    ]


def reference_of(bound, examples, dtype):
    before = model("reference", dtype)
    needed = [example[view] for example in examples for view in bound.sequence_reference_views]
    cached = CachedLogprobs.compute(before, needed, max_tokens_per_forward=1000) if needed else None
    return Reference(cached, LiveReference(before) if bound.needs_distribution else None)


def losses_and_gradients(bound, examples, budget, dtype=torch.float64, average_over=None):
    [examples] = in_rows([examples], bound)
    trained = model("model", dtype)
    trained.zero_grad()
    reference = reference_of(bound, examples, dtype)
    losses = batch_losses(
        trained,
        bound,
        examples,
        reference,
        max_tokens_per_forward=budget,
        average_over=average_over,
        backward=torch.Tensor.backward,
    )
    return losses, torch.cat([p.grad.flatten() for p in trained.parameters() if p.grad is not None])


def assert_same(cut, whole, tolerance):
    (losses, gradient), (whole_losses, whole_gradient) = cut, whole
    assert losses.forget.item() == pytest.approx(whole_losses.forget.item(), rel=tolerance, abs=tolerance)
    assert losses.retain.item() == pytest.approx(whole_losses.retain.item(), rel=tolerance, abs=tolerance)
    assert (gradient - whole_gradient).norm() <= tolerance * whole_gradient.norm()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_the_same_one_example_at_a_time(method):
    bound = objective(method, SMALL)
    examples = examples_of(0, 4, bound.views)
    assert_same(losses_and_gradients(bound, examples, 1), losses_and_gradients(bound, examples, None), 1e-9)


@given(
    method=st.sampled_from(["me+gd", "me+kl", "npo+ap", "llmu"]),
    average=st.sampled_from(["tokens", "sequences", "padded"]),
    seed=st.integers(0, 1000),
    count=st.integers(1, 6),
    budget=st.integers(1, 400),
    average_over=st.sampled_from([None, 2]),
)
@settings(deadline=None, derandomize=True, max_examples=25)
def test_any_cut_is_the_whole(method, average, seed, count, budget, average_over):
    me, kl = MEConfig(average=average, padded_length=60), KLConfig(average=average, padded_length=52)
    config = ObjectiveConfig(forget_coeff=0.3, retain_coeff=2.0, me=me, kl=kl)
    bound = objective(method, config)
    examples = examples_of(seed, count, bound.views)
    cut, whole = (losses_and_gradients(bound, examples, each, average_over=average_over) for each in (budget, None))
    assert_same(cut, whole, 1e-7)  # norms compute in float32, and may round a last digit the other way


@pytest.mark.parametrize("average", ["tokens", "sequences", "broadcast"])
def test_any_cut_is_the_whole_inside_the_model(average):
    config = ObjectiveConfig(rmu={"layer": 0, "average": average}, embed={"layer": 1, "average": average})
    bound = objective("rmu+embed", config)
    examples = examples_of(6, 5, bound.views)
    for average_over in (None, 2):
        cut, whole = (losses_and_gradients(bound, examples, each, average_over=average_over) for each in (1, None))
        assert_same(cut, whole, 1e-7)


@pytest.mark.parametrize("method", ["ga+gd", "npo+kl", "me+gd", "ceu+jsd"])
def test_averages_of_micro_batches_are_averaged(method):
    bound = objective(method, ObjectiveConfig())
    examples = examples_of(9, 6, bound.views)
    parts = [losses_and_gradients(bound, examples[start : start + 2], None)[0] for start in (0, 2, 4)]
    whole = losses_and_gradients(bound, examples, 60, average_over=2)[0]
    for side in ("forget", "retain"):
        mean = sum(getattr(part, side).item() for part in parts) / 3
        assert getattr(whole, side).item() == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("method", ["me+gd", "idk+ap", "dpo+kl"])
def test_in_single_precision(method):
    bound = objective(method, ObjectiveConfig())
    examples = examples_of(1, 6, bound.views)
    whole = losses_and_gradients(bound, examples, None, torch.float32)
    assert_same(losses_and_gradients(bound, examples, 100, torch.float32), whole, 1e-5)


def test_the_order_of_examples_changes_nothing():
    bound = objective("npo+kl", ObjectiveConfig())
    examples = examples_of(2, 5, bound.views)
    whole = losses_and_gradients(bound, examples, None)
    assert_same(losses_and_gradients(bound, examples[::-1], 80), whole, 1e-9)


def test_token_averages_weigh_tokens_and_sequence_averages_sequences():
    """Two batches joined: a token average is weighted by answer tokens, a sequence average by examples."""
    first, second = examples_of(3, 1), examples_of(4, 3)
    bound = objective("npo+gd", ObjectiveConfig())

    def losses(examples):
        return losses_and_gradients(bound, examples, None)[0]

    def answer_tokens(examples):
        return sum(len(example["retain"].answer) for example in examples)

    a, b, both = losses(first), losses(second), losses(first + second)
    assert both.forget.item() == pytest.approx((1 * a.forget.item() + 3 * b.forget.item()) / 4, rel=1e-9)
    n, m = answer_tokens(first), answer_tokens(second)
    assert both.retain.item() == pytest.approx((n * a.retain.item() + m * b.retain.item()) / (n + m), rel=1e-9)


def test_coefficients_weigh_the_gradient_and_not_the_losses_returned():
    examples = examples_of(5, 3)

    def run(forget_coeff, retain_coeff):
        config = ObjectiveConfig(forget_coeff=forget_coeff, retain_coeff=retain_coeff)
        return losses_and_gradients(objective("ga+gd", config), examples, None)

    (plain, forget), (weighted, both) = run(1.0, 0.0), run(0.1, 2.0)
    _, retain = run(0.0, 1.0)
    assert (weighted.forget, weighted.retain) == (plain.forget, plain.retain)
    torch.testing.assert_close(both, 0.1 * forget + 2.0 * retain)


def test_backward_is_called_on_each_share_and_the_losses_come_back_detached():
    bound = objective("ga+gd", ObjectiveConfig(forget_coeff=0.5))
    examples = examples_of(6, 4, bound.views)
    shares = []
    losses = batch_losses(
        model("model", torch.float64), bound, examples, Reference(), max_tokens_per_forward=1, backward=shares.append
    )
    assert len(shares) == 4
    assert all(share.requires_grad and share.dim() == 0 for share in shares)
    assert not losses.forget.requires_grad
    assert not losses.retain.requires_grad
    expected = 0.5 * losses.forget + losses.retain
    torch.testing.assert_close(torch.stack(shares).sum().detach(), expected)


def test_without_backward_the_losses_carry_the_gradient():
    bound = objective("me+ap", ObjectiveConfig())
    examples = examples_of(7, 3, bound.views)
    _, expected = losses_and_gradients(bound, examples, None)
    trained = model("model", torch.float64)
    trained.zero_grad()
    losses = batch_losses(trained, bound, examples, Reference(), max_tokens_per_forward=60)
    (losses.forget + losses.retain).backward()
    torch.testing.assert_close(torch.cat([p.grad.flatten() for p in trained.parameters()]), expected)


def test_fine_tuning_has_no_forget_loss():
    examples = examples_of(8, 3, ("retain",))
    losses, gradient = losses_and_gradients(fine_tuning(), examples, 50)
    assert losses.forget.item() == 0.0
    assert losses.retain.item() > 0
    assert gradient.norm() > 0
