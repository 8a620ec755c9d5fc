"""R: how much of the answer's wording the output holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache

from efface.scores.question import MetricInputs, Missing

_WORDS_KNOWN = 1 << 15
"""How many stems are kept at most: the same words come over and over, and stemming is most of the work."""


def rouge_l_recall(answer: str, output: str) -> float:
    """Longest common subsequence of `output` with `answer`, over the tokens of `answer`; Porter stemmer on.

    ROUGE (Lin, 2004) as in `rouge-score`, which sees only the letters a-z and digits: with its tokenizer and its
    numbers, and without its table of all pairs of tokens.
    """
    right, said = _tokens(answer), _tokens(output)
    return common_length(right, said) / len(right) if right and said else 0.0


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    A row of the usual table is one integer, whose bit i is 0 where the length grows at token i of `one` (Hyyrö, "Bit-
    parallel LCS-length computation revisited", 2004).
    """
    places: dict[str, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    whole = (1 << len(one)) - 1
    row = whole
    for token in other:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & whole
    return len(one) - row.bit_count()


class _Stemmer:
    """The one that `rouge-score` takes, with a memory."""

    def __init__(self) -> None:
        from rouge_score.tokenizers import porter  # seconds to import (nltk)

        self.stem = lru_cache(_WORDS_KNOWN)(porter.PorterStemmer().stem)


@cache
def _stemmer() -> _Stemmer:
    return _Stemmer()


def _tokens(text: str) -> list[str]:
    from rouge_score.tokenize import tokenize

    tokens: list[str] = tokenize(text, _stemmer())
    return tokens


def rouge(question: MetricInputs) -> float | Missing:
    """ROUGE-L recall in [0, 1], from the texts; as logged only where there are none.

    An answer without a letter a-z or digit (another script) has no token that `rouge-score` could count: its
    recall is 0/0 and is reported missing, where the library would say 0.
    """
    if question.answer is None or question.output is None:
        if question.logged_rouge is None:
            return question.lacks("rouge", "neither the texts of answer and output nor a logged ROUGE are there")
        return question.logged_rouge
    if not re.search("[a-z0-9]", question.answer.lower()):
        return question.lacks("rouge", "the answer has no letter a-z or digit, and ROUGE counts only those")
    return rouge_l_recall(question.answer, question.output)
