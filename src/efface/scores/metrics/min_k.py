"""Min-K% probability: how surprising the least likely tokens of a text are, for membership inference."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHARE = 0.4
"""The share of tokens that MUSE (arXiv:2407.06460) and open-unlearning take."""


def min_k(logprobs: Sequence[float], share: float = SHARE) -> float:
    """Compute the mean log-probability of the least likely tokens (Min-K% Prob; Shi et al., arXiv:2310.16789, eq. 1).

    Args:
        logprobs: Natural-log probability of each token; at least one.
        share: Of the tokens that are counted, rounded down, but at least one token.

    Returns:
        The mean; higher for texts that a model was trained on.
    """
    lowest = sorted(logprobs)[: max(1, int(share * len(logprobs)))]
    return math.fsum(lowest) / len(lowest)
