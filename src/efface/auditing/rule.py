"""Whether a fact came back: the run's judge, or words, and never what the attack itself has said. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from efface.auditing.attack import HitVerdict
from efface.auditing.fact import Fact, text_of
from efface.evaluation.judging.key_fact_judge import contains_fact
from efface.evaluation.judging.nli_judge import Claim, Judge
from efface.scores.metrics.rouge import common_subsequence_length
from efface.scores.metrics.word_recall import stemmed_words
from efface.words import words

LEAST_SHARE = 0.5
"""Share of an answer's new words, or of a passage, from which on it counts as said."""
LONGEST_RUN = 20
"""Consecutive words of a passage (characters in scripts without spaces) from which on it counts as said; of a shorter
passage, all."""
BY_WORDS = "words"
"""The name of the rule without a judge."""
_KEPT_TEXTS = 512
"""What an attack shows is compared with every fact, after every look, and may be a whole training set."""
_LISTED = (
    "a an and are as at be been but by did do does for from had has have he her his i in is it its not of on or she "
    "that the their there they this to was were what when where which who with you"
)
_FUNCTION_WORDS = frozenset(_LISTED.split())
"""They carry no fact, and any output has them."""


class FactRule:
    """Decides about the outputs of all attacks of one audit."""

    def __init__(
        self, judge: Judge | None, facts: Sequence[Fact], premise: Literal["output", "answer"] = "output"
    ) -> None:
        """Keep the judge.

        Args:
            judge: Of the run, which alone decides where there is one; without one, words do.
            facts: All facts that are audited; the text of an attack may contain any of them.
            premise: Which of output and answer must entail the other, as in the run's forget set.
        """
        self._judge, self._facts, self._premise = judge, facts, premise

    @property
    def name(self) -> str:
        """What decides."""
        return BY_WORDS if self._judge is None else self._judge.name

    @property
    def is_cheap(self) -> bool:
        """Whether no model is needed to decide."""
        return self._judge is None or self.name == "key-facts"

    def judge(
        self, facts: Sequence[Fact], outputs: Sequence[str], shown: Sequence[str], targets: Sequence[str] | None = None
    ) -> list[HitVerdict]:
        """Judge one output of each fact; see `efface.auditing.attack.Rule`."""
        rests = [None] * len(facts) if targets is None else list(targets)
        echoes = [is_echo(fact, text, rest) for fact, text, rest in zip(facts, shown, rests, strict=True)]
        stated = self.says(facts, outputs, shown, rests)
        return [
            HitVerdict(hit=None if echo else hit, echo=echo, shown=self._contained(text, fact, echo=echo))
            for fact, text, echo, hit in zip(facts, shown, echoes, stated, strict=True)
        ]

    def says(
        self,
        facts: Sequence[Fact],
        outputs: Sequence[str],
        shown: Sequence[str],
        targets: Sequence[str | None] | None = None,
    ) -> list[bool]:
        """Whether each output says its fact, whatever the attack has shown besides.

        Args:
            facts: What the outputs are compared with.
            outputs: Of the model.
            shown: Text whose words are not new, where words decide.
            targets: What an output is compared with where that is not the whole answer.
        """
        rests = targets or [None] * len(facts)
        said = [_says(*each) for each in zip(facts, outputs, shown, rests, strict=True)]
        if self._judge is None:
            return said
        judged = [index for index, fact in enumerate(facts) if not fact.is_passage]
        claims = [
            Claim(
                _whole(facts[index], outputs[index], rests[index]),
                facts[index].item.entailment_target,
                facts[index].key_fact,
                self._premise,
            )
            for index in judged
        ]
        for index, verdict in zip(judged, self._judge.verdicts(claims), strict=True):
            if verdict.label is not None:
                said[index] = verdict.label == "entailment"
        return said

    def _contained(self, text: str, fact: Fact, *, echo: bool) -> tuple[str, ...]:
        """Ids of the facts that the attack's text contains."""
        if not text:
            return ()
        return tuple(each.id for each in self._facts if (echo if each.id == fact.id else is_echo(each, text)))


def is_echo(fact: Fact, shown: str, target: str | None = None) -> bool:
    """Whether the text of an attack contains a fact, so that an output with it would be no recall.

    Args:
        fact: The fact.
        shown: Everything that the attack shows to the model.
        target: What the attack has left of the answer, after words that it forces; then only a text with all words of
            it is an echo.
    """
    wanted = fact.answer if target is None else target
    if fact.is_passage:
        return _repeats(wanted, shown)
    if fact.key_fact is not None:
        return contains_fact(shown, fact.key_fact)
    new, left = _new_words(wanted, fact.question), _new_words(wanted, fact.question, shown)
    return not left if target is not None else len(left) <= (1 - LEAST_SHARE) * len(new)


def can_be_judged(fact: Fact) -> bool:
    """Whether the prompt leaves anything of the answer to be recalled."""
    return not is_echo(fact, text_of(fact.prompt))


def share_of_new_words(answer: str, output: str, question: str, shown: str = "") -> float:
    """ROUGE-L recall over those words of an answer that neither the question nor the attack has.

    Most of an answer's words are often those of its question, so that repeating the question would have a recall
    above 0.5.

    Args:
        answer: The reference answer.
        output: Of the model.
        question: What the answer replies to.
        shown: What else the model was shown.

    Returns:
        A number in [0, 1]; 0 where no word is new.
    """
    new = _new_words(answer, question, shown)
    return common_subsequence_length(new, stemmed_words(output)) / len(new) if new else 0.0


def says_wrong(fact: Fact, output: str) -> bool:
    """Whether an output says one of the wrong answers that the data has: as often as the right one by guessing alone.

    Args:
        fact: With wrong answers.
        output: Of the model.
    """
    return any(
        share_of_new_words(wrong, output, fact.question, fact.answer) >= LEAST_SHARE for wrong in fact.wrong_answers
    )


def continues_passage(passage: str, output: str) -> bool:
    """Whether an output repeats a passage: `LONGEST_RUN` consecutive words of it, or ROUGE-L F1 of `LEAST_SHARE`.

    Args:
        passage: Of the forget set.
        output: Of the model.
    """
    if _repeats(passage, output):
        return True
    reference, candidate = stemmed_words(passage), stemmed_words(output)
    length = common_subsequence_length(reference, candidate)
    return 2 * length >= LEAST_SHARE * (len(reference) + len(candidate)) > 0


def _repeats(passage: str, text: str) -> bool:
    """Whether a text has `LONGEST_RUN` consecutive words of a passage, or all of a shorter one."""
    wanted, spaced = words(passage), f" {_one_spaced(text)} "
    size = min(LONGEST_RUN, len(wanted))
    runs = (" ".join(wanted[start : start + size]) for start in range(len(wanted) - size + 1))
    return bool(wanted) and any(f" {run} " in spaced for run in runs)


def _whole(fact: Fact, output: str, target: str | None) -> str:
    """An output as a judge reads it: after the words that the attack forced, since a rest alone entails little."""
    return output if target is None else f"{fact.answer.removesuffix(target)} {output}"


def _says(fact: Fact, output: str, shown: str, target: str | None) -> bool:
    if fact.is_passage:
        return continues_passage(target or fact.answer, output)
    if fact.key_fact is not None:
        return contains_fact(output, fact.key_fact)
    return share_of_new_words(target or fact.answer, output, fact.question, shown) >= LEAST_SHARE


def _new_words(answer: str, question: str, shown: str = "") -> list[str]:
    """The words that an answer adds to its question, without those that the attack shows.

    Function words only where the answer adds no others: else they would be all that is left of a fact that is shown.
    """
    added = [word for word in stemmed_words(answer) if word not in _stems(question)]
    telling = [word for word in added if word not in _FUNCTION_WORDS] or added
    return [word for word in telling if word not in _stems(shown)]


@lru_cache(_KEPT_TEXTS)
def _stems(text: str) -> frozenset[str]:
    return frozenset(stemmed_words(text))


@lru_cache(_KEPT_TEXTS)
def _one_spaced(text: str) -> str:
    return " ".join(words(text))


def answer_type(text: str) -> str:
    """The type of a fact: `year`, `number`, `name` or `text`.

    Args:
        text: The key fact, or the answer.
    """
    if re.fullmatch(r"\W*(1\d|20)\d\d\W*", text):
        return "year"
    if re.search(r"\d", text):
        return "number"
    parts = text.split()
    return "name" if len(parts) <= 5 and all(part[:1].isupper() for part in parts) else "text"
