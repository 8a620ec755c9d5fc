"""How much of an answer a model has memorized: which of its tokens it predicts. Counted in no aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

MemorizationForm = Literal["corrected", "open-unlearning"]
"""`open-unlearning`: as its code computes extraction strength, which is never 0."""


def exact_memorization(predicted: Sequence[bool]) -> float:
    """Share of an answer's tokens that the model predicts (Tirumala et al., 2022; arXiv:2205.10770).

    Args:
        predicted: Whether the most likely token is the answer's, for each of its tokens after the true ones before it;
            at least one.

    Returns:
        A number in [0, 1].
    """
    return sum(predicted) / len(predicted)


def extraction_strength(predicted: Sequence[bool], *, form: MemorizationForm = "corrected") -> float:
    """Share of an answer that the model completes by itself: 1 - k / T, k the fewest true tokens that it needs.

    Carlini et al., 2021 (arXiv:2012.07805); used for unlearning in arXiv:2406.09179.

    Args:
        predicted: As for `exact_memorization`. Without the tokens that end the answer: those are easy to predict.
        form: `open-unlearning` gives 1 / T where not even the last token is predicted: its loop ends one step early.

    Returns:
        1 if greedy decoding from the prompt alone gives the answer, 0 if not even its last token is predicted.
    """
    completed = 0
    for correct in reversed(predicted):
        if not correct:
            break
        completed += 1
    if form == "open-unlearning":
        completed = max(completed, 1)
    return completed / len(predicted)
