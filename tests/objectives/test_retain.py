"""The retain losses against values computed by hand."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from efface.objectives import retain


def one(value):
    return torch.tensor([value], dtype=torch.float64, requires_grad=True)


def test_gd_is_cross_entropy_of_the_answer():
    assert retain.gd(one(-1.5)).item() == 1.5


def test_kl_directions():
    model = torch.tensor([[log(3.0), 0.0]], dtype=torch.float64)  # (3/4, 1/4)
    reference = torch.tensor([[0.0, log(4.0)]], dtype=torch.float64)  # (1/5, 4/5)
    forward = 0.2 * log(0.2 / 0.75) + 0.8 * log(0.8 / 0.25)
    backward = 0.75 * log(0.75 / 0.2) + 0.25 * log(0.25 / 0.8)
    assert retain.kl(model, reference, direction="reference_to_model").item() == pytest.approx(forward)
    assert retain.kl(model, reference, direction="model_to_reference").item() == pytest.approx(backward)


@pytest.mark.parametrize("direction", ["reference_to_model", "model_to_reference"])
def test_kl_with_itself_is_zero_and_so_is_its_gradient(direction):
    logits = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64, requires_grad=True)
    loss = retain.kl(logits, logits.detach() + 3.0, direction=direction).sum()  # logits are defined up to a constant
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-15)
    assert logits.grad.abs().max() < 1e-15


def test_ap():
    # 1/b, where NPO and DPO have 2/b: 15 nats in favor of the answer
    loss = retain.ap(one(-20.0), one(-5.0), beta=0.1)
    assert loss.item() == pytest.approx(1 / 0.1 * log(1 + exp(-0.1 * 15)), rel=1e-12)


def test_ap_raises_the_answer_and_lowers_the_refusal():
    refusal, answer = one(-20.0), one(-20.0)
    retain.ap(refusal, answer, beta=0.1).sum().backward()
    assert (refusal.grad.item(), answer.grad.item()) == pytest.approx((0.5, -0.5))


def test_aps_weight_is_its_derivative():
    """The paper's W: the gradient of AP is W times that of log p(refusal) - log p(answer)."""
    for refusal, answer in ((-20.0, -5.0), (-5.0, -20.0), (-7.0, -7.0)):
        refusal_B, answer_B = one(refusal), one(answer)
        retain.ap(refusal_B, answer_B, beta=0.3).sum().backward()
        weight = retain.ap_weight(refusal_B.detach(), answer_B.detach(), beta=0.3).item()
        assert (refusal_B.grad.item(), answer_B.grad.item()) == pytest.approx((weight, -weight), rel=1e-12)
        assert weight == pytest.approx(1 / (1 + (exp(answer) / exp(refusal)) ** 0.3), rel=1e-12)


def test_jsd_is_symmetric_and_bounded():
    model = torch.tensor([[log(3.0), 0.0]], dtype=torch.float64)  # (3/4, 1/4)
    reference = torch.tensor([[0.0, log(4.0)]], dtype=torch.float64)  # (1/5, 4/5)
    middle = (0.475, 0.525)
    expected = (
        0.75 * log(0.75 / middle[0]) + 0.25 * log(0.25 / middle[1])
        + 0.2 * log(0.2 / middle[0]) + 0.8 * log(0.8 / middle[1])
    ) / 2  # fmt: skip
    assert retain.jsd(model, reference).item() == pytest.approx(expected)
    assert retain.jsd(reference, model).item() == pytest.approx(expected)
    opposite = torch.tensor([[900.0, 0.0]], dtype=torch.float64)
    assert retain.jsd(opposite, opposite.flip(1)).item() == pytest.approx(log(2))


def test_embed_is_the_mean_square_per_hidden_unit():
    states = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert retain.embed(states, torch.tensor([[1.0, 0.0], [0.0, 0.0]])).tolist() == [2.0, 0.0]
