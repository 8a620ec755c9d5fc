"""Losses that make a model forget, as formulas. They do not average: the training step does.

Shapes: N tokens, B sequences, V vocabulary. `logp` is a natural-log probability; that of a sequence is the sum over
the tokens of its answer, including end of sequence. x is the question, y the answer, y' a refusal.
Paper: Yuan et al., "A Closer Look at Machine Unlearning for Large Language Models", arXiv:2410.08109.
"""

from __future__ import annotations

import math

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
