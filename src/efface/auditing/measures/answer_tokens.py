"""Numbers of each token of an answer's text, for attacks that read likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from efface.auditing.subject import Subject
from efface.packing.logprobs import answer_numbers
from efface.schema import Prompt


@dataclass(frozen=True)
class AnswerTokens:
    """One number for each token of an answer's text; the tokens that end it are left out."""

    logprobs: list[float]
    """Natural-log probability."""
    predicted: list[bool]
    """Whether it is the most likely token."""
    means: list[float]
    """Of log p under p itself, over the vocabulary."""
    variances: list[float]
    """The same."""


def answer_tokens(subject: Subject, pairs: Sequence[tuple[Prompt, str]]) -> list[AnswerTokens]:
    """Read answers with one forward pass each, the true tokens given.

    Args:
        subject: The model.
        pairs: Prompts with their answers.

    Returns:
        One for each pair. Where the text's only token is shared with the prompt, that which ends the answer is counted.
    """
    sequences = subject.formatter.encode([(str(n), prompt, answer) for n, (prompt, answer) in enumerate(pairs)])
    made = answer_numbers(
        subject.model,
        sequences,
        token_numbers,
        max_tokens_per_forward=subject.evaluate.max_tokens_per_forward,
    )
    found = []
    for (prompt, _), tokens in zip(pairs, made, strict=True):
        end = 0 if prompt.passage else subject.formatter.end_length
        logprobs, predicted, means, variances = (
            list(each) for each in zip(*(tokens[: len(tokens) - end] or tokens), strict=True)
        )
        found.append(AnswerTokens(logprobs, [each == 1 for each in predicted], means, variances))
    return found


def token_numbers(logits: Tensor, targets: Tensor) -> Tensor:
    """The numbers of `AnswerTokens`.

    Args:
        logits: [n, V].
        targets: Token ids [n].

    Returns:
        [n, 4]: log-probability, 1 if predicted, mean and variance.
    """
    logp_NV = logits.log_softmax(dim=-1)
    p_NV = logp_NV.exp()
    mean_N = (p_NV * logp_NV.clamp(min=-1e4)).sum(dim=-1)  # a probability of 0 counts nothing: no 0 times infinity
    variance_N = (p_NV * (logp_NV - mean_N[:, None]).clamp(min=-1e4) ** 2).sum(dim=-1)
    logp_N = logp_NV.gather(1, targets[:, None])[:, 0]
    predicted_N = logits.argmax(dim=-1) == targets
    return torch.stack([logp_N, predicted_N.to(logits.dtype), mean_N, variance_N], dim=-1)
