"""A judge without a model: whether the output contains the reference answer's key fact."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from efface.evaluation.journal import Journal
from efface.evaluation.nli_judge import Claim, Verdict


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
    ) -> list[Verdict]:
        """Label each claim.

        Args:
            claims: Outputs with their key facts.
            journal: Not needed: this takes no time.
            progress: Not needed either.

        Returns:
            `entailment` or `neutral` for each claim; without a key fact, no label and the reason.
        """
        return [_verdict(claim) for claim in claims]


def _verdict(claim: Claim) -> Verdict:
    if claim.key_fact is None:
        return Verdict(None, "the question has no key fact for the judge key-facts to look for")
    # not \b: a fact may begin or end with a character that is not part of a word
    as_words = rf"(?<!\w){re.escape(_normalized(claim.key_fact))}(?!\w)"
    return Verdict("entailment" if re.search(as_words, _normalized(claim.output)) else "neutral")


def _normalized(text: str) -> str:
    return " ".join(text.casefold().split())
