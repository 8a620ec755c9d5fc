"""Min-K% probability: how surprising the least likely tokens of a text are, for membership inference."""

from __future__ import annotations

from collections.abc import Sequence

from efface.scores.means import mean

MIN_K = 0.4
"""The share of tokens that MUSE (arXiv:2407.06460) and open-unlearning count."""


def min_k_score(logprobs: Sequence[float], k: float = MIN_K) -> float:
    """Compute the negative mean log-probability of the least likely tokens (Min-K% Prob; arXiv:2310.16789, eq. 1).

    Args:
        logprobs: Natural-log probability of each token; at least one.
        k: Share of the tokens that is counted, rounded down, but at least one token.

    Returns:
        The negative mean; lower for texts that a model was trained on.
    """
    lowest = sorted(logprobs)[: max(1, int(k * len(logprobs)))]
    return -mean(lowest)
