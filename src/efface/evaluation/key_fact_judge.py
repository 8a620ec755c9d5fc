"""A judge without a model: does the output hold the answer's key fact?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from efface.evaluation.nli_judge import Claim, Verdict


class KeyFactJudge:
    """Entailed if the key fact stands in the output, at word borders, whatever its case and white space.

    For data whose key facts are known, such as generated authors. It does not see a negation around the fact.
    """

    name = "key-facts"

    def verdicts(self, claims: Sequence[Claim]) -> list[Verdict]:
        """Label each claim `entailment` or `neutral`; one without a key fact gets a reason instead."""
        return [_verdict(claim) for claim in claims]


def _verdict(claim: Claim) -> Verdict:
    if claim.key_fact is None:
        return Verdict(None, "the question has no key fact for the judge key-facts to look for")
    # not \b: a fact may begin or end with a sign that is no part of a word
    at_borders = rf"(?<!\w){re.escape(_normalized(claim.key_fact))}(?!\w)"
    return Verdict("entailment" if re.search(at_borders, _normalized(claim.output)) else "neutral")


def _normalized(text: str) -> str:
    return " ".join(text.casefold().split())
