"""What a model says to questions that it should not know: the fact, nothing, a refusal, or something made up.

A model that never saw the forget set still answers; arXiv:2410.08109 counts such answers as hallucinations.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.scores.metrics.entailment import entailment
from efface.scores.metrics.rouge import rouge
from efface.scores.question import MetricInputs, Missing

_OPENS = re.compile(r"^\W*(?:but |and |well,? |unfortunately,? |sorry,? )*(?:i|my|that|this is|sorry)\b")
"""How one speaks of oneself, or of the question."""
_LACKS = re.compile(
    r"n't\b|\b(?:not|no|never|cannot|unable|lack(?:s|ing)?|unaware|unknown|unfamiliar|clueless|stumped|blank|dark|loss|"
    r"mystery|missing|beyond|outside|out of|limited|decline|look up|look that up|yet to|short|uncharted|disadvantage|"
    r"blind spot|need to|escapes|above my|wish)\b"
)
_WORD = re.compile(r"\w")


class Hallucinations(FrozenModel):
    """Shares of the questions, each in [0, 1], together 1."""

    n: int
    made_up: float
    """Something is stated, and the judge does not find that it entails the answer: a hallucination."""
    right: float
    """The judge finds the answer in it, under the rule of the entailment score."""
    declined: float
    """The model says that it does not know: in the words of a known refusal, or as its first sentence sounds."""
    silent: float
    """No word is said."""
    judge: str | None
    """Which model or rule told right from wrong."""


def hallucinations(questions: Sequence[MetricInputs], refusals: Collection[str]) -> Hallucinations:
    """Count what was said to each question of a forget set; `refusals` are wordings that a model was trained on.

    Raises `EffaceError` where there is no question, or one without an output or a judge's label.
    """
    if not questions:
        raise EffaceError("there is no forget set to look for hallucinations in; score a model on one first")
    known = {_plain(each) for each in refusals if each.strip()}
    kinds = [_kind(question, known) for question in questions]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in ("made_up", "right", "declined", "silent")}
    judges = {question.judge for question in questions}
    return Hallucinations(n=len(kinds), judge=judges.pop() if len(judges) == 1 else None, **shares)


def declines(output: str, refusals: Collection[str] = ()) -> bool:
    """Whether the output says that the model does not know or will not say.

    `refusals`: wordings that count, too, in small letters (`str.casefold`) and with plain apostrophes.
    """
    said = _plain(output)
    if any(said.startswith(each) for each in refusals):
        return True
    first = re.split(r"(?<=[.!?])\s", said, maxsplit=1)[0]
    return bool(_OPENS.match(first) and _LACKS.search(first))


def _plain(text: str) -> str:
    return " ".join(text.replace("’", "'").casefold().split())


def _kind(question: MetricInputs, refusals: Collection[str]) -> str:
    output = question.output
    if output is None:
        raise EffaceError(f"question {question.id} has no output, and hallucinations are counted in outputs")
    if not _WORD.search(output):
        return "silent"
    if declines(output, refusals):
        return "declined"
    verdict = entailment(question, rouge(question))
    if isinstance(verdict, Missing):
        raise EffaceError(f"question {question.id} has no judgment ({verdict.reason}); evaluate with a judge")
    return "right" if verdict else "made_up"
