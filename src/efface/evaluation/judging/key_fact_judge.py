"""A judge without a model: whether the output contains the reference answer's key fact."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

from efface.evaluation.journal import Journal
from efface.evaluation.judging.nli_judge import Claim, EntailmentVerdict
from efface.words import UNSPACED

_LETTER = rf"[^\W{UNSPACED}]"
"""A character that, next to a key fact, makes it a part of another word."""
_UNSPACED = re.compile(f"[{UNSPACED}]")


class KeyFactJudge:
    """Labels an output `entailment` if it contains the key fact as whole words, ignoring case and white space.

    Where the answer itself has the key fact only inside a longer word, such as one with a prefix or an ending, any
    place in the output counts. It does not detect a negation around the fact.
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
    said = contains_fact(claim.output, claim.key_fact)
    if not said and _is_within_a_word(claim.key_fact, claim.target):
        said = _normalized(claim.key_fact) in _normalized(claim.output)
    return EntailmentVerdict("entailment" if said else "neutral")


def _is_within_a_word(key_fact: str, answer: str) -> bool:
    return _normalized(key_fact) in _normalized(answer) and not contains_fact(answer, key_fact)


def contains_fact(text: str, key_fact: str) -> bool:
    """Whether a text contains a key fact as whole words, ignoring case and white space.

    In scripts without spaces between words, any place counts.

    Args:
        text: Any text.
        key_fact: The words to look for.
    """
    fact, text = _normalized(key_fact), _normalized(text)
    if fact not in text:
        return False
    # not \b: a fact may begin or end with a character that is not part of a word
    before = "" if _UNSPACED.match(fact[:1]) else f"(?<!{_LETTER})"
    after = "" if _UNSPACED.match(fact[-1:]) else f"(?!{_LETTER})"
    return re.search(f"{before}{re.escape(fact)}{after}", text) is not None


@lru_cache(512)  # a text that an audit compares with many facts may be a whole training set
def _normalized(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
