"""TE: whether the output is varied text, or the same tokens repeated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Literal

from efface.scores.inputs.metric_inputs import MetricInputs, Missing

EntropyTokens = Literal["generated", "retokenized"]
"""The tokens that are counted: those that were generated, or those of the output's text tokenized again, as in the
published code of arXiv:2410.08109. The two differ where a model generates tokens that its tokenizer would join."""
ENTROPY_TOKENS: Mapping[EntropyTokens, str] = {
    "generated": "the tokens as generated",
    "retokenized": "the output's text tokenized again",
}
"""Each as a phrase of a sentence."""


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
    entropy = math.fsum([count / n * math.log2(n / count) for count in Counter(tokens).values()])
    return min(1.0, entropy / math.log2(n))


def counted_tokens(inputs: MetricInputs, wanted: EntropyTokens) -> EntropyTokens | None:
    """Which tokens the entropy of a question counts.

    Args:
        inputs: Its metric inputs.
        wanted: What the definition counts.

    Returns:
        `wanted`, or the other tokens where the source has only their entropy; None where it has neither.
    """
    if inputs.token_entropy is None and inputs.retokenized_entropy is None:
        return None
    if inputs.retokenized_entropy is None:
        return "generated"
    return "retokenized" if inputs.token_entropy is None else wanted


def entropy_note(
    counted: Mapping[str, Collection[EntropyTokens]], wanted: EntropyTokens, definition: str
) -> str | None:
    """Say whose token entropies count other tokens than the definition does.

    Args:
        counted: Name of a set or model -> what the entropies of its questions count (`counted_tokens`).
        wanted: What the definition counts.
        definition: Its name.

    Returns:
        A clause that starts with these names; None if there are none.
    """
    other: EntropyTokens = "generated" if wanted == "retokenized" else "retokenized"
    names = [name for name, tokens in counted.items() if other in tokens]
    if not names:
        return None
    return (
        f"{', '.join(names)}: of {ENTROPY_TOKENS[other]}, where {definition} counts {ENTROPY_TOKENS[wanted]}, "
        "which these records or logs do not have"
    )


def token_entropy(inputs: MetricInputs, *, tokens: EntropyTokens) -> float | Missing:
    """Normalized token entropy of the output, in [0, 1], or why there is none.

    Args:
        inputs: The metric inputs of one question.
        tokens: Which tokens are counted; the other ones where the source has only their entropy.
    """
    counted = counted_tokens(inputs, tokens)
    entropy = inputs.retokenized_entropy if counted == "retokenized" else inputs.token_entropy
    if entropy is None:
        return inputs.explain_missing("token_entropy", "there is no token entropy of the output")
    return min(1.0, max(0.0, entropy))
