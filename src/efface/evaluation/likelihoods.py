"""What a model believes: the log-probabilities of right, reworded and wrong answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from efface.errors import EffaceError
from efface.packing.logprobs import answer_logprobs
from efface.schema import Item, Prompt
from efface.text.formatter import PromptFormatter


@dataclass(frozen=True)
class Likelihoods:
    """Natural-log probability of each token of an item's answers, end-of-sequence included."""

    answer: list[float]
    paraphrased: list[float] | None
    perturbed: list[list[float]]


def likelihoods(
    model: Any, formatter: PromptFormatter, items: Sequence[Item], *, max_tokens_per_forward: int
) -> list[Likelihoods]:
    """Score every answer of `items` in forwards of at most `max_tokens_per_forward` tokens, in input order.

    Raises `EffaceError` where a log-probability is not finite: no score can be made from it.
    """
    rows = answer_rows(items)
    scored = answer_logprobs(model, formatter.encode(rows), max_tokens_per_forward=max_tokens_per_forward)
    for (id_, _, text), logprobs in zip(rows, scored, strict=True):
        if not all(map(math.isfinite, logprobs)):
            raise EffaceError(
                f"the model gives a log-probability that is not a number for the answer {text!r} of item {id_!r}: its "
                "weights are damaged or overflow; load it in float32, or train with a lower learning rate"
            )
    answers = iter(scored)
    return [
        Likelihoods(
            answer=next(answers),
            paraphrased=None if item.paraphrased_answer is None else next(answers),
            perturbed=[next(answers) for _ in item.perturbed_answers],
        )
        for item in items
    ]


def answer_rows(items: Sequence[Item]) -> list[tuple[str, Prompt, str]]:
    """Id, prompt and text of every answer whose likelihood is asked for."""
    return [(item.id, item.prompt, text) for item in items for text in _answers(item)]


def _answers(item: Item) -> list[str]:
    """In the order in which `likelihoods` takes them apart."""
    paraphrased = [] if item.paraphrased_answer is None else [item.paraphrased_answer]
    return [item.scored_answer, *paraphrased, *item.perturbed_answers]
