"""TE: whether the output is varied text, or the same tokens repeated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from efface.scores.metric_inputs import MetricInputs, Missing


def normalized_entropy(tokens: Sequence[Hashable]) -> float:
    """Compute the entropy of token frequencies, in bits, over log2(number of tokens); arXiv:2410.08109.

    Args:
        tokens: Tokens of an output, in any form.

    Returns:
        A number in [0, 1]; 0 for fewer than two tokens.
    """
    n = len(tokens)
    if n <= 1:
        return 0.0
    entropy = math.fsum(count / n * math.log2(n / count) for count in Counter(tokens).values())
    return min(1.0, entropy / math.log2(n))


def token_entropy(inputs: MetricInputs) -> float | Missing:
    """Normalized token entropy of the output, in [0, 1], or why there is none."""
    if inputs.token_entropy is None:
        return inputs.explain_missing("token_entropy", "there is no token entropy of the output")
    return min(1.0, max(0.0, inputs.token_entropy))
