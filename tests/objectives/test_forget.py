"""The forget losses against values computed by hand."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from efface.objectives import forget


def one(value):
    return torch.tensor([value], dtype=torch.float64, requires_grad=True)


def slope(loss, of):
    """Derivative of a loss of one number."""
    return torch.autograd.grad(loss.sum(), of)[0].item()


def test_ga_is_the_log_probability_so_minimizing_it_unlearns():
    assert forget.ga(one(-1.5)).item() == -1.5


@pytest.mark.parametrize(("logp", "ref"), [(-10.0, -8.0), (-3.0, -8.0), (-8.0, -8.0)])
def test_npo(logp, ref):
    # -(2/b) log sigmoid(-b m) = (2/b) log(1 + e^(b m)), m the log-ratio to the reference
    expected = 2 / 0.1 * log(1 + exp(0.1 * (logp - ref)))
    assert forget.npo(one(logp), one(ref), beta=0.1).item() == pytest.approx(expected, rel=1e-12)


def test_npo_has_the_gradient_of_ga_at_first_and_none_once_forgotten():
    at_reference, forgotten = one(-8.0), one(-800.0)
    # (2/b) b sigmoid(b m): 1 at the reference, as GA's; nearly 0 far below it
    assert slope(forget.npo(at_reference, one(-8.0), beta=0.1), at_reference) == pytest.approx(1.0)
    assert 0 < slope(forget.npo(forgotten, one(-8.0), beta=0.1), forgotten) < 1e-30


def test_dpo():
    # margins over the reference: refusal -30 - -40 = 10, answer -20 - -8 = -12; so 22 in favor of the refusal
    loss = forget.dpo(one(-30.0), one(-20.0), one(-40.0), one(-8.0), beta=0.1)
    assert loss.item() == pytest.approx(2 / 0.1 * log(1 + exp(-0.1 * 22)), rel=1e-12)


def test_dpo_raises_the_refusal_and_lowers_the_answer():
    refusal, answer = one(-30.0), one(-20.0)
    loss = forget.dpo(refusal, answer, one(-30.0), one(-20.0), beta=0.1)
    assert loss.item() == pytest.approx(2 / 0.1 * log(2))
    assert slope(loss, refusal) == pytest.approx(-1.0)
    answer_loss = forget.dpo(refusal, answer, one(-30.0), one(-20.0), beta=0.1)
    assert slope(answer_loss, answer) == pytest.approx(1.0)


def test_me_directions():
    # P = (3/4, 1/4) against U = (1/2, 1/2)
    logits = torch.tensor([[log(3.0), 0.0], [7.0, 7.0]], dtype=torch.float64)
    uniform_to_model = 0.5 * log(0.5 / 0.75) + 0.5 * log(0.5 / 0.25)
    model_to_uniform = 0.75 * log(0.75 / 0.5) + 0.25 * log(0.25 / 0.5)
    assert forget.me(logits, direction="uniform_to_model").tolist() == pytest.approx([uniform_to_model, 0.0])
    assert forget.me(logits, direction="model_to_uniform").tolist() == pytest.approx([model_to_uniform, 0.0])


@pytest.mark.parametrize("direction", ["uniform_to_model", "model_to_uniform"])
def test_me_of_a_one_hot_distribution_is_finite(direction):
    logits = torch.tensor([[1e4, 0.0, 0.0]], requires_grad=True)
    loss = forget.me(logits, direction=direction).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_idk_is_cross_entropy_of_the_refusal():
    assert forget.idk(one(-1.5)).item() == 1.5
