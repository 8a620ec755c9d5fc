"""Log-probabilities of reference, paraphrased and perturbed answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from efface import distributed
from efface.errors import EffaceError
from efface.evaluation.encode import EncodedQuestion, answer_texts
from efface.evaluation.journal import Journal
from efface.main_process import on_main_process
from efface.packing.logprobs import answer_numbers, logprobs_and_predicted

_JOURNALED = "answer tokens"
"""The kind of these results in a journal."""


@dataclass(frozen=True)
class Likelihoods:
    """Natural-log probability of each token of an item's answers, end-of-sequence token included."""

    answer: list[float]
    answer_predicted: list[bool]
    """Whether the most likely token is the answer's, for each token of `answer`."""
    paraphrased: list[float] | None
    perturbed: list[list[float]]


def likelihoods(
    model: Any,
    questions: Sequence[EncodedQuestion],
    *,
    max_tokens_per_forward: int,
    journal: Journal | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Likelihoods]:
    """Compute the log-probabilities of every answer.

    Args:
        model: A causal language model.
        questions: Encoded questions with their answers.
        max_tokens_per_forward: Most tokens in one forward pass.
        journal: Has results from before a kill, and gets those of each batch.
        progress: Called after each batch with the share of the answers that are done.

    Returns:
        One for each question, in the same order; none in a process that is not the main one.

    Raises:
        EffaceError: When a log-probability is not finite: no score can be computed from it.
    """
    sequences = [answer for question in questions for answer in question.answers]
    done = 0

    def on_batch(values: dict[str, list[list[float]]]) -> None:
        nonlocal done
        if journal is not None:
            journal.add(_JOURNALED, values)
        done += len(values) * distributed.world_size()
        if progress is not None:
            progress(min(1.0, done / len(sequences)))

    tokens = iter(
        answer_numbers(
            model,
            sequences,
            logprobs_and_predicted,
            max_tokens_per_forward=max_tokens_per_forward,
            known={} if journal is None else journal.known(_JOURNALED),
            on_batch=on_batch,
        )
    )
    of_questions = on_main_process(
        lambda: [_likelihoods(question, [next(tokens) for _ in question.answers]) for question in questions]
    )
    return of_questions or []


def _likelihoods(question: EncodedQuestion, tokens: list[list[list[float]]]) -> Likelihoods:
    """`tokens`: of each answer, the log-probability of each token and whether it is predicted."""
    item = question.item
    logprobs = [[logprob for logprob, _ in each] for each in tokens]
    for text, values in zip(answer_texts(item), logprobs, strict=True):
        if not all(map(math.isfinite, values)):
            raise EffaceError(
                f"the model gives a log-probability that is not a number for the answer {text!r} of item {item.id!r}: "
                "its weights are damaged or overflow; load it in float32, or train with a lower learning rate"
            )
    answer, *others = logprobs
    paraphrased = None if item.paraphrased_answer is None else others.pop(0)
    predicted = [predicted == 1 for _, predicted in tokens[0]]
    return Likelihoods(answer=answer, answer_predicted=predicted, paraphrased=paraphrased, perturbed=others)
