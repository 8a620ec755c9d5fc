"""Whether a model forgot, and what it kept. No torch."""

from __future__ import annotations

from typing import Literal

from efface.artifacts.base import Artifact


class Share(Artifact):
    """How many of some questions, with the 95 % interval of their share (Wilson)."""

    count: int
    n: int
    low: float
    high: float


class AnswerTypes(Artifact):
    """How many answers of one model to one set are of which type."""

    n: int
    """Number of questions; the sum of the others."""
    right: int
    """They state the reference answer."""
    declined: int
    """They say that the model does not know."""
    made_up: int
    """They state something else."""
    silent: int
    """They have no word."""


class ForgetVerdict(Artifact):
    """Whether the forget sets were forgotten; the rule is in `efface.scores.verdict`."""

    state: Literal["forgot", "likely", "partly", "not", "undecided"]
    """`forgot`: nothing leaks or is likely. `likely`: no answer is stated, but some are still likely. `undecided`:
    nothing was known before."""
    known_before: int
    """Questions that were answered correctly before unlearning."""
    leaks: Share
    """Of all questions: those that are answered correctly after unlearning."""
    likely: Share
    """Of all questions: those whose answer is not stated, but is still likely."""
    by_words: int = 0
    """Questions whose output was compared with the answer by words, since no judge labeled it."""


class RetainVerdict(Artifact):
    """What is left of the other sets."""

    state: Literal["kept", "some", "most", "undecided"]
    """`kept`, `some` was lost, `most` was lost, or `undecided`: nothing was known before."""
    n: int
    """Number of questions."""
    kept: Share
    """Of those that were answered correctly before: those that still are."""
    own_answers: bool = False
    """The references are the model's own earlier answers, so that this counts answers that did not change."""
    known_facts: bool = False
    """These are well-known facts that the model knew before and was not trained on; other sets are not counted."""
    by_words: int = 0
    """Questions, or facts, for which words were compared, since no judge labeled the output."""


class Verdict(Artifact):
    """Whether a model forgot, and what it kept."""

    forget: ForgetVerdict | None
    """None without a forget set."""
    retain: RetainVerdict | None
    """None without another set."""
    answers_before: dict[str, AnswerTypes]
    """Set -> types of the answers before unlearning."""
    answers_after: dict[str, AnswerTypes]
    """The same after unlearning."""
