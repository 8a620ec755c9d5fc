"""What makes a model forget: one formula each. The step averages.

Shapes: N tokens, B sequences, V vocabulary. `logp` is a natural-log probability; that of a sequence is the
sum over its answer's tokens, end of sequence included. y is the answer, y' a refusal, x the question.
Paper: Yuan et al., "A Closer Look at Machine Unlearning for Large Language Models", arXiv:2410.08109.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from efface.objectives.config import MEDirection


def ga(logp_N: Tensor) -> Tensor:
    """Gradient ascent on the answer's tokens. arXiv:2410.08109, eq. 2."""
    return logp_N


def npo(logp_B: Tensor, ref_logp_B: Tensor, *, beta: float) -> Tensor:
    """Negative preference optimization: push answers below the reference. arXiv:2404.05868, eq. 3."""
    return -(2 / beta) * F.logsigmoid(-beta * (logp_B - ref_logp_B))


def dpo(
    refusal_logp_B: Tensor, logp_B: Tensor, ref_refusal_logp_B: Tensor, ref_logp_B: Tensor, *, beta: float
) -> Tensor:
    """Direct preference optimization: prefer the refusal to the answer. arXiv:2305.18290, eq. 7, times 2 / beta."""
    margin_B = (refusal_logp_B - logp_B) - (ref_refusal_logp_B - ref_logp_B)
    return -(2 / beta) * F.logsigmoid(beta * margin_B)


def me(logits_NV: Tensor, *, direction: MEDirection) -> Tensor:
    """Maximize entropy: KL between the next-token distribution P and the uniform U. arXiv:2410.08109, eq. 8.

    `uniform_to_model` is KL(U || P), as in the published code; `model_to_uniform` is KL(P || U), as in the paper.
    """
    log_size = math.log(logits_NV.shape[-1])
    logp_NV = F.log_softmax(logits_NV, dim=-1)
    if direction == "uniform_to_model":
        return -logp_NV.mean(dim=-1) - log_size
    return (logp_NV.exp() * logp_NV).sum(dim=-1) + log_size


def idk(refusal_logp_N: Tensor) -> Tensor:
    """Cross-entropy of the refusal's tokens: learn to say "I don't know". arXiv:2401.06121, sec. 4."""
    return -refusal_logp_N
