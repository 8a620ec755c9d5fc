"""Classify outputs for the forget set: the fact, nothing, a refusal, or something made up.

A model that never saw the forget set still answers; arXiv:2410.08109 calls such answers hallucinations.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal

from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.scores.inputs.metric_inputs import MetricInputs
from efface.scores.metrics.word_recall import word_recall

STATED_SHARE = 0.5
"""Without a judge, an answer counts as stated from this share of its words on (`word_recall`). A judge is asked first,
because one wrong word can reverse an answer and hardly changes the share."""
KEY_FACTS = "key-facts"
"""The judge that finds the fact's own words in an output; others are NLI models."""
AnswerType = Literal["right", "declined", "made_up", "silent"]

_SPEAKS_OF_ITSELF = re.compile(r"^\W*(?:but |and |well,? |unfortunately,? |sorry,? )*(?:i|my|that|this is|sorry)\b")
"""How a sentence begins that is about the speaker, or about the question."""
_NEGATES = re.compile(
    r"n't\b|\b(?:not|no|never|cannot|unable|lack(?:s|ing)?|unaware|unknown|unfamiliar|clueless|stumped|blank|dark|loss|"
    r"mystery|missing|beyond|outside|out of|limited|decline|look up|look that up|yet to|short|uncharted|disadvantage|"
    r"blind spot|need to|escapes|above my|wish)\b"
)
_WORD = re.compile(r"\w")
_SENTENCE_BREAK = re.compile(r"(?<=[.!?])\s")


class Hallucinations(FrozenModel):
    """Shares of the questions, each in [0, 1], together 1."""

    n: int
    made_up: float
    """A statement that does not entail the answer, according to the judge: a hallucination."""
    right: float
    """The output states the answer, according to the judge."""
    declined: float
    """The model says that it does not know, and does not state the answer: a known refusal, or the first sentence
    reads like one."""
    silent: float
    """The output has no word."""
    judge: str | None
    """Name of the judge; None if there are several."""


def hallucinations(questions: Sequence[MetricInputs], refusals: Collection[str]) -> Hallucinations:
    """Classify the output for each question of a forget set and count.

    Args:
        questions: Questions of the forget set.
        refusals: Wordings of "I don't know" that the model was trained on.

    Returns:
        The share of each class.

    Raises:
        EffaceError: When there are no questions, or one has no output or no label of a judge.
    """
    if not questions:
        raise EffaceError(
            "there is no forget set, and hallucinations are counted on it; evaluate the model on one first"
        )
    known = {plain_text(each) for each in refusals if each.strip()}
    classes = [_classify(question, known) for question in questions]
    shares = {name: classes.count(name) / len(classes) for name in ("made_up", "right", "declined", "silent")}
    judges = {question.judge for question in questions}
    return Hallucinations(n=len(classes), judge=judges.pop() if len(judges) == 1 else None, **shares)


def declines(output: str, refusals: Collection[str] = ()) -> bool:
    """Whether an output says that the model does not know or will not answer.

    Args:
        output: The output.
        refusals: Further wordings that count, in lower case (`str.casefold`) and with plain apostrophes.
    """
    text = plain_text(output)
    if any(text.startswith(each) for each in refusals):
        return True
    sentence = _SENTENCE_BREAK.split(text, maxsplit=1)[0]
    return bool(_SPEAKS_OF_ITSELF.match(sentence) and _NEGATES.search(sentence))


def plain_text(text: str) -> str:
    """A text as `declines` compares it: in lower case, with plain apostrophes and single spaces."""
    return " ".join(text.replace("’", "'").casefold().split())


def answer_type(question: MetricInputs, refusals: Collection[str] = ()) -> AnswerType:
    """Classify one output: the one rule of verdicts and of `efface score --hallucinations`.

    The judge is asked first: an output that declines and then states the answer is right. Without a judge, an output
    that declines is not right, because a refusal that repeats the question shares many words with the answer.

    Args:
        question: The question and its output.
        refusals: Further wordings of "I don't know", as `plain_text` writes them.
    """
    output = question.output or ""
    if question.label is None:
        right = _share_of_words(question) >= STATED_SHARE and not declines(output, refusals)
    else:
        right = question.label == "entailment" and _may_be_entailed(question, refusals)
    if right:
        return "right"
    return "declined" if declines(output, refusals) else "made_up" if _WORD.search(output) else "silent"


def _may_be_entailed(question: MetricInputs, refusals: Collection[str]) -> bool:
    """Whether to believe a judge that says `entailment`.

    NLI models say it of some outputs that state nothing; the paper's score therefore asks for a ROUGE of 0.1, which a
    long answer does not have when its fact alone is given. Here any word is enough where the output must entail the
    answer, as on forget sets: it may be a synonym or of another language. A word of the answer is needed in an output
    that declines, and where the answer must entail the output, as it does any empty statement.
    """
    output = question.output or ""
    if question.judge == KEY_FACTS:
        return True
    if question.premise == "output" and _WORD.search(output) and not declines(output, refusals):
        return True
    return _share_of_words(question) > 0


def _share_of_words(question: MetricInputs) -> float:
    if question.answer is None or question.output is None:
        return question.logged_rouge or 0.0
    return word_recall(question.answer, question.output)


def _classify(question: MetricInputs, refusals: Collection[str]) -> AnswerType:
    """The type of an answer, which only a judge can call right or made up."""
    if question.output is None:
        raise EffaceError(
            f"question {question.id} has no output, and outputs are what is classified; evaluate the model again"
        )
    kind = answer_type(question, refusals)
    if kind in ("right", "made_up") and question.label is None:
        reason = question.explain_missing("entailment", "there is no label of a judge").reason
        raise EffaceError(f"question {question.id} has no entailment label ({reason}); evaluate with a judge")
    return kind
