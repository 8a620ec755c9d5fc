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


def test_simnpo_at_its_margin_and_its_gradient_by_length():
    # beta (2 - 2) = 0, so the sigmoid is 1/2; the derivative by log p is 1 / |y|
    logp = one(-8.0)
    loss = forget.simnpo(logp, torch.tensor([4.0], dtype=torch.float64), beta=2.5, delta=2.0)
    assert loss.item() == pytest.approx(2 / 2.5 * log(2))
    assert slope(loss, logp) == pytest.approx(2 * 0.5 / 4)


def test_wga_weighs_by_probability_without_a_gradient_of_the_weight():
    logp = one(log(0.25))
    loss = forget.wga(logp, beta=0.5)
    assert loss.item() == pytest.approx(0.5 * log(0.25))
    assert slope(loss, logp) == pytest.approx(0.5)
    assert forget.wga(logp, beta=0).item() == forget.ga(logp).item()


def test_satimp():
    logp = one(log(0.25))
    loss = forget.satimp(logp, beta1=0.5, beta2=2.0)
    assert loss.item() == pytest.approx(0.5 * 0.75**2 * log(0.25))
    assert slope(loss, logp) == pytest.approx(0.5 * 0.75**2)


def test_ceu_is_the_entropy_to_the_others_and_lowers_the_answer():
    # P = (1/2, 1/4, 1/4), the answer is the first: Q = (0, 1/2, 1/2)
    logits = torch.tensor([[log(2.0), 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = forget.ceu(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(log(4))
    assert torch.autograd.grad(loss.sum(), logits)[0].tolist()[0] == pytest.approx([0.5, -0.25, -0.25])


def test_undial_distills_what_is_left_when_the_answer_is_lowered():
    logits = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    loss = forget.undial(logits, torch.tensor([[log(8.0), 0.0]], dtype=torch.float64), torch.tensor([0]), beta=log(2))
    assert loss.item() == pytest.approx(log(2))
    # softmax of the lowered reference is (4/5, 1/5)
    assert torch.autograd.grad(loss.sum(), logits)[0].tolist()[0] == pytest.approx([0.5 - 0.8, 0.5 - 0.2])


def test_pdu_flattens():
    assert forget.pdu(torch.tensor([[3.0, 0.0, 0.0], [2.0, 2.0, 2.0]])).tolist() == [4.0, 0.0]


def test_rmu_is_the_mean_square_per_hidden_unit():
    states, control = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([1.0, 0.0])
    assert forget.rmu(states, control_H=control).tolist() == [2.0, 0.5]


def test_a_control_vector_has_its_length_and_positive_entries():
    drawn = forget.control_vector(32, length=20, seed=1)
    assert drawn.norm().item() == pytest.approx(20, rel=1e-6)
    assert (drawn > 0).all()


def test_jensun_is_the_divergence_from_one_token():
    """Against the definition, over the whole distribution; the target has probability 0 elsewhere."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, dtype=torch.float64, generator=generator) * 3
    target = torch.tensor([0, 3, 6, 6, 2])
    assert forget.jensun(logits, target).tolist() == pytest.approx(jensen_shannon(logits, target).tolist(), rel=1e-9)
    certain = torch.tensor([[200.0, 0.0]], dtype=torch.float64)
    assert forget.jensun(certain, torch.tensor([0])).item() == pytest.approx(0)
    assert forget.jensun(certain, torch.tensor([1])).item() == pytest.approx(log(2))


def jensen_shannon(logits, target):
    model = logits.softmax(-1)
    one_hot = torch.nn.functional.one_hot(target, logits.shape[-1]).double()
    middle = (model + one_hot) / 2
    return sum((torch.xlogy(p, p) - torch.xlogy(p, middle)).sum(-1) for p in (model, one_hot)) / 2
