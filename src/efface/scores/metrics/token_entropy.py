"""TE: is the output varied text, or one token over and over."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from efface.scores.question import MetricInputs, Missing


def normalized_entropy(tokens: Sequence[Hashable]) -> float:
    """Entropy in bits of the token frequencies / log2(number of tokens), in [0, 1]; 0 for one token or none.

    arXiv:2410.08109.
    """
    n = len(tokens)
    if n <= 1:
        return 0.0
    entropy = math.fsum(count / n * math.log2(n / count) for count in Counter(tokens).values())
    return min(1.0, entropy / math.log2(n))


def token_entropy(question: MetricInputs) -> float | Missing:
    """Normalized token entropy of the output, in [0, 1]."""
    if question.token_entropy is None:
        return question.lacks("token_entropy", "the output's token entropy is not there")
    return min(1.0, max(0.0, question.token_entropy))
