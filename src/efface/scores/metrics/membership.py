"""Scores that tell whether a model was trained on a text: its tokens -> a number, low for a member. No torch."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

from efface.scores.means import mean

MIN_K = 0.4
"""The share of tokens that min-k counts, as in MUSE and open-unlearning."""
_LEAST_VARIANCE = 1e-6


def loss_score(logprobs: Sequence[float]) -> float:
    """Mean negative log-likelihood (Yeom et al., 2018; arXiv:1709.01604).

    Args:
        logprobs: Natural-log probability of each token; at least one.
    """
    return -mean(logprobs)


def zlib_score(logprobs: Sequence[float], text: str) -> float:
    """The loss over the size of the compressed text, which is hard to predict for any model (arXiv:2012.07805).

    Args:
        logprobs: As for `loss_score`.
        text: The text of the tokens.
    """
    return loss_score(logprobs) / len(zlib.compress(text.encode()))


def min_k_score(logprobs: Sequence[float], k: float = MIN_K) -> float:
    """Min-k % Prob: negative mean of the least likely tokens (arXiv:2310.16789).

    Args:
        logprobs: As for `loss_score`.
        k: Share of the tokens that is counted, at least one of them.
    """
    lowest = sorted(logprobs)[: max(1, int(k * len(logprobs)))]
    return -mean(lowest)


def min_k_plus_plus_score(
    logprobs: Sequence[float], means: Sequence[float], variances: Sequence[float], k: float = MIN_K
) -> float:
    """Min-k %++: min-k of the log-probabilities standardized over the vocabulary (arXiv:2404.02936).

    Args:
        logprobs: As for `loss_score`.
        means: Of log p under p itself, for each token's distribution.
        variances: The same; taken as at least 1e-6.
        k: As for `min_k_score`.
    """
    standardized = [
        (logprob - center) / math.sqrt(max(variance, _LEAST_VARIANCE))
        for logprob, center, variance in zip(logprobs, means, variances, strict=True)
    ]
    return min_k_score(standardized, k)
