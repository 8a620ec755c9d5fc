"""Losses that make a model forget, as formulas. They do not average: the training step does.

Shapes: N tokens, B sequences, V vocabulary. `logp` is a natural-log probability; that of a sequence is the sum over
the tokens of its answer, including end of sequence. x is the question, y the answer, y' a refusal.
Paper: Yuan et al., "A Closer Look at Machine Unlearning for Large Language Models", arXiv:2410.08109.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.objectives.config import MEDirection


def ga(logp_N: Tensor) -> Tensor:
    """Gradient ascent: log p(y). arXiv:2410.08109, eq. 2.

    Args:
        logp_N: log-probabilities of answer tokens [N].

    Returns:
        The loss of each token [N].
    """
    return logp_N


def npo(logp_B: Tensor, ref_logp_B: Tensor, *, beta: float) -> Tensor:
    """Negative preference optimization: make answers less likely than under the reference. arXiv:2404.05868, eq. 3.

    -2/beta log sigmoid(-beta log(p(y|x) / p_ref(y|x)))

    Args:
        logp_B: log-probabilities of answers [B].
        ref_logp_B: the same under the reference model [B].
        beta: inverse temperature; a smaller one is closer to gradient ascent.

    Returns:
        The loss of each sequence [B].
    """
    return -(2 / beta) * F.logsigmoid(-beta * (logp_B - ref_logp_B))


def dpo(
    refusal_logp_B: Tensor, logp_B: Tensor, ref_refusal_logp_B: Tensor, ref_logp_B: Tensor, *, beta: float
) -> Tensor:
    """Direct preference optimization: prefer the refusal to the answer. arXiv:2305.18290, eq. 7, times 2 / beta.

    -2/beta log sigmoid(beta (log(p(y'|x) / p(y|x)) - log(p_ref(y'|x) / p_ref(y|x))))

    Args:
        refusal_logp_B: log-probabilities of refusals [B].
        logp_B: log-probabilities of the answers to the same questions [B].
        ref_refusal_logp_B: log-probabilities of the refusals under the reference model [B].
        ref_logp_B: log-probabilities of the answers under the reference model [B].
        beta: inverse temperature.

    Returns:
        The loss of each pair [B].
    """
    margin_B = (refusal_logp_B - logp_B) - (ref_refusal_logp_B - ref_logp_B)
    return -(2 / beta) * F.logsigmoid(beta * margin_B)


def me(logits_NV: Tensor, *, direction: MEDirection, floor: float = 0.0) -> Tensor:
    """Maximum entropy: KL divergence between the model's distribution P and the uniform U. arXiv:2410.08109, eq. 8.

    Args:
        logits_NV: next-token logits [N, V].
        direction: `uniform_to_model` is KL(U || P), as in the published code; `model_to_uniform` is KL(P || U), as in
            the paper.
        floor: added to each probability before its logarithm; 1e-12 in the published code. Tokens that are less likely
            than that get no gradient.

    Returns:
        The loss of each token [N].
    """
    log_vocabulary = math.log(logits_NV.shape[-1])
    logp_NV = (F.softmax(logits_NV, dim=-1) + floor).log() if floor else F.log_softmax(logits_NV, dim=-1)
    if direction == "uniform_to_model":
        return -logp_NV.mean(dim=-1) - log_vocabulary
    return (logp_NV.exp() * logp_NV).sum(dim=-1) + log_vocabulary


def idk(refusal_logp_N: Tensor) -> Tensor:
    """Cross-entropy of a refusal such as "I don't know": -log p(y'). arXiv:2401.06121, sec. 4.

    Args:
        refusal_logp_N: log-probabilities of refusal tokens [N].

    Returns:
        The loss of each token [N].
    """
    return -refusal_logp_N


def simnpo(logp_B: Tensor, length_B: Tensor, *, beta: float, delta: float) -> Tensor:
    """SimNPO: NPO with the mean log-probability in place of the ratio to a reference. arXiv:2410.07163, eq. 4.

    -2/beta log sigmoid(beta (-1/|y| log p(y|x) - delta)). The paper's gamma is beta times delta.

    Args:
        logp_B: log-probabilities of answers [B].
        length_B: the number of tokens of each answer [B].
        beta: inverse temperature.
        delta: the margin, in nats per token.

    Returns:
        The loss of each sequence [B].
    """
    return -(2 / beta) * F.logsigmoid(beta * (-logp_B / length_B - delta))


def wga(logp_N: Tensor, *, beta: float) -> Tensor:
    """Weighted gradient ascent: p^beta log p, the weight without gradient. arXiv:2502.19301, sec. 4.

    Args:
        logp_N: log-probabilities of answer tokens [N].
        beta: 0 is gradient ascent; a larger one spares tokens that are already unlikely.

    Returns:
        The loss of each token [N].
    """
    return (beta * logp_N.detach()).exp() * logp_N


def satimp(logp_N: Tensor, *, beta1: float, beta2: float) -> Tensor:
    """SatImp: p^beta1 (1 - p)^beta2 log p, the weights without gradient. arXiv:2505.11953.

    Args:
        logp_N: log-probabilities of answer tokens [N].
        beta1: a larger one spares tokens that are already unlikely (saturation).
        beta2: a larger one spares tokens that are nearly certain (importance).

    Returns:
        The loss of each token [N].
    """
    weight_N = (beta1 * logp_N.detach()).exp() * (-torch.expm1(logp_N.detach())) ** beta2
    return weight_N * logp_N


def ceu(logits_NV: Tensor, target_N: Tensor) -> Tensor:
    """CE-U: cross-entropy to the model's own distribution without the answer's token. arXiv:2503.01224.

    H(q, softmax(z)), where q is the softmax of z with the answer's logit at minus infinity, without gradient.

    Args:
        logits_NV: next-token logits z [N, V].
        target_N: ids of the answer's tokens [N].

    Returns:
        The loss of each token [N].
    """
    others_NV = logits_NV.detach().scatter(1, target_N[:, None], -math.inf)
    return F.cross_entropy(logits_NV, others_NV.softmax(dim=-1), reduction="none")


def undial(logits_NV: Tensor, ref_logits_NV: Tensor, target_N: Tensor, *, beta: float) -> Tensor:
    """UNDIAL: cross-entropy to the reference's distribution with the answer's logit lowered. arXiv:2402.10052, eq. 2.

    H(softmax(z_ref - beta e_y), softmax(z)).

    Args:
        logits_NV: next-token logits z [N, V].
        ref_logits_NV: the same of the reference model [N, V].
        target_N: ids of the answer's tokens y [N].
        beta: by how much their logits are lowered.

    Returns:
        The loss of each token [N].
    """
    lowered_NV = ref_logits_NV - beta * F.one_hot(target_N, ref_logits_NV.shape[-1]).to(ref_logits_NV.dtype)
    return F.cross_entropy(logits_NV, lowered_NV.softmax(dim=-1), reduction="none")


def pdu(logits_NV: Tensor) -> Tensor:
    """Logit flattening, the forget loss of PDU: (max z - mean z)^2. arXiv:2506.05314.

    Args:
        logits_NV: next-token logits z [N, V].

    Returns:
        The loss of each token [N].
    """
    return (logits_NV.max(dim=-1).values - logits_NV.mean(dim=-1)) ** 2


def rmu(states_NH: Tensor, *, control_H: Tensor) -> Tensor:
    """RMU: mean squared distance of hidden states from a fixed vector. arXiv:2403.03218, sec. 4.

    Args:
        states_NH: outputs of one decoder layer [N, H].
        control_H: the vector to which they are moved [H].

    Returns:
        The loss of each token [N].
    """
    return ((states_NH - control_H) ** 2).mean(dim=-1)


def control_vector(size: int, *, length: float, seed: int) -> Tensor:
    """Draw the control vector of RMU: a random direction with positive entries. arXiv:2403.03218, sec. 4.

    Args:
        size: H, the number of hidden units.
        length: its 2-norm.
        seed: decides the direction.

    Returns:
        The vector [H] on the CPU, in float32.
    """
    direction_H = torch.rand(size, generator=torch.Generator().manual_seed(seed))
    return F.normalize(direction_H, dim=0) * length


def jensun(logits_NV: Tensor, target_N: Tensor) -> Tensor:
    """JensUn: Jensen-Shannon divergence of the model's distribution from a refusal's token. arXiv:2509.02820, eq. 3.

    With M = (softmax(z) + e_y) / 2: KL(softmax(z) || M) / 2 + KL(e_y || M) / 2. Of all probabilities, it depends on
    p = softmax(z)_y alone: log 2 + (p log p - (1 + p) log(1 + p)) / 2.

    Args:
        logits_NV: next-token logits z [N, V].
        target_N: ids of the refusal's tokens y [N].

    Returns:
        The loss of each token [N], from 0 to log 2.
    """
    logp_N = -F.cross_entropy(logits_NV, target_N, reduction="none")
    p_N = logp_N.exp()
    return math.log(2) + (p_N * logp_N - (1 + p_N) * torch.log1p(p_N)) / 2
