"""What keeps the rest as it was: one formula each. The step averages. Shapes as in `forget`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from efface.objectives.config import KLDirection


def gd(logp_N: Tensor) -> Tensor:
    """Gradient descent: cross-entropy of the answer's tokens. arXiv:2410.08109, eq. 5."""
    return -logp_N


def kl(logits_NV: Tensor, ref_logits_NV: Tensor, *, direction: KLDirection) -> Tensor:
    """KL divergence between the reference's next-token distribution and the model's. arXiv:2410.08109, eq. 6.

    `reference_to_model` is KL(ref || model), the default everywhere.
    """
    logp_NV = F.log_softmax(logits_NV, dim=-1)
    ref_logp_NV = F.log_softmax(ref_logits_NV, dim=-1)
    if direction == "reference_to_model":
        return (ref_logp_NV.exp() * (ref_logp_NV - logp_NV)).sum(dim=-1)
    return (logp_NV.exp() * (logp_NV - ref_logp_NV)).sum(dim=-1)


def ap(refusal_logp_B: Tensor, logp_B: Tensor, *, beta: float) -> Tensor:
    """Answer preservation: prefer the right answer to the refusal. arXiv:2410.08109, eq. 10."""
    return -(1 / beta) * F.logsigmoid(-beta * (refusal_logp_B - logp_B))
