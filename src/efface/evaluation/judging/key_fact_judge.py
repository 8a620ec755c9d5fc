"""A judge without a model: whether the output contains the reference answer's key fact."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from efface.evaluation.journal import Journal
from efface.evaluation.judging.nli_judge import Claim, EntailmentVerdict


class KeyFactJudge:
    """Labels an output `entailment` if it contains the key fact as whole words, ignoring case and white space.

    For data with known key facts, such as generated authors. It does not detect a negation around the fact.
    """

    name = "key-facts"

    def verdicts(
        self,
        claims: Sequence[Claim],
        journal: Journal | None = None,  # noqa: ARG002
        progress: Callable[[float], None] | None = None,  # noqa: ARG002
    ) -> list[EntailmentVerdict]:
        """Label each claim.

        Args:
            claims: Outputs with their key facts.
            journal: Not needed: this takes no time.
            progress: Not needed either.

        Returns:
            `entailment` or `neutral` for each claim; without a key fact, no label and the reason.
        """
        return [_verdict(claim) for claim in claims]


def _verdict(claim: Claim) -> EntailmentVerdict:
    if claim.key_fact is None:
        return EntailmentVerdict(None, "the question has no key fact for the judge key-facts to look for")
    return EntailmentVerdict("entailment" if contains_fact(claim.output, claim.key_fact) else "neutral")


def contains_fact(text: str, key_fact: str) -> bool:
    """Whether a text contains a key fact as whole words, ignoring case and white space.

    Args:
        text: Any text.
        key_fact: The words to look for.
    """
    fact, text = _normalized(key_fact), _normalized(text)
    # not \b: a fact may begin or end with a character that is not part of a word
    return fact in text and re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", text) is not None


@lru_cache(512)  # a text that an audit compares with many facts may be a whole training set
def _normalized(text: str) -> str:
    return " ".join(text.casefold().split())
