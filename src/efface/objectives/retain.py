"""Losses on the retain set, as formulas. They do not average: the training step does. Shapes as in `forget`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.objectives.config import KLDirection


def gd(logp_N: Tensor) -> Tensor:
    """Gradient descent: cross-entropy of the answer, -log p(y). arXiv:2410.08109, eq. 5.

    Args:
        logp_N: log-probabilities of answer tokens [N].

    Returns:
        The loss of each token [N].
    """
    return -logp_N


def kl(logits_NV: Tensor, ref_logits_NV: Tensor, *, direction: KLDirection) -> Tensor:
    """KL divergence between the distributions of the reference model and the model. arXiv:2410.08109, eq. 6.

    Args:
        logits_NV: next-token logits [N, V].
        ref_logits_NV: the same of the reference model [N, V].
        direction: `reference_to_model` is KL(ref || model), as in the paper; `model_to_reference` the reverse.

    Returns:
        The loss of each token [N].
    """
    logp_NV = F.log_softmax(logits_NV, dim=-1)
    ref_logp_NV = F.log_softmax(ref_logits_NV, dim=-1)
    if direction == "reference_to_model":
        return (ref_logp_NV.exp() * (ref_logp_NV - logp_NV)).sum(dim=-1)
    return (logp_NV.exp() * (logp_NV - ref_logp_NV)).sum(dim=-1)


def ap(refusal_logp_B: Tensor, logp_B: Tensor, *, beta: float) -> Tensor:
    """Answer preservation: prefer the answer to a refusal. arXiv:2410.08109, eq. 10.

    -1/beta log sigmoid(-beta log(p(y'|x) / p(y|x)))

    Args:
        refusal_logp_B: log-probabilities of refusals [B].
        logp_B: log-probabilities of the answers to the same questions [B].
        beta: inverse temperature.

    Returns:
        The loss of each pair [B].
    """
    return -(1 / beta) * F.logsigmoid(-beta * (refusal_logp_B - logp_B))


def ap_weight(refusal_logp_B: Tensor, logp_B: Tensor, *, beta: float) -> Tensor:
    """The weight that `ap` gives a pair: the derivative of its loss by log(p(y'|x) / p(y|x)). arXiv:2410.08109.

    sigmoid(beta log(p(y'|x) / p(y|x))): near 0 where the answer is far more likely than the refusal, .5 where both are
    equally likely, near 1 where the refusal is.

    Args:
        refusal_logp_B: log-probabilities of refusals [B].
        logp_B: log-probabilities of the answers to the same questions [B].
        beta: inverse temperature.

    Returns:
        The weight of each pair [B], in [0, 1].
    """
    return torch.sigmoid(beta * (refusal_logp_B - logp_B))


def jsd(logits_NV: Tensor, ref_logits_NV: Tensor) -> Tensor:
    """Jensen-Shannon divergence between the distributions of model and reference. arXiv:2509.02820, eq. 4.

    With M = (P + P_ref) / 2: KL(P || M) / 2 + KL(P_ref || M) / 2.

    Args:
        logits_NV: next-token logits [N, V].
        ref_logits_NV: the same of the reference model [N, V].

    Returns:
        The loss of each token [N], from 0 to log 2.
    """
    logp_NV = F.log_softmax(logits_NV, dim=-1)
    ref_logp_NV = F.log_softmax(ref_logits_NV, dim=-1)
    log_mean_NV = torch.logaddexp(logp_NV, ref_logp_NV) - math.log(2)
    divergences_NV = logp_NV.exp() * (logp_NV - log_mean_NV) + ref_logp_NV.exp() * (ref_logp_NV - log_mean_NV)
    return divergences_NV.sum(dim=-1) / 2


def embed(states_NH: Tensor, ref_states_NH: Tensor) -> Tensor:
    """Mean squared distance of hidden states from those of the reference. arXiv:2403.03218, sec. 4.

    Args:
        states_NH: outputs of one decoder layer [N, H].
        ref_states_NH: the same of the reference model [N, H].

    Returns:
        The loss of each token [N].
    """
    return ((states_NH - ref_states_NH.to(states_NH)) ** 2).mean(dim=-1)
