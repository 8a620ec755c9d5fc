"""R: how much of the answer's wording the output contains."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.metrics.porter_stemmer import porter_stem

_WORD = re.compile("[a-z0-9]+")
_KNOWN_STEMS = 1 << 15
"""Words whose stems are remembered: most words repeat, and stemming is most of the work."""
_KNOWN_PAIRS = 8
"""Pairs of texts whose recall is remembered: a verdict reads it right after the metrics of the same question."""


@lru_cache(_KNOWN_PAIRS)
def rouge_l_recall(answer: str, output: str) -> float:
    """Compute ROUGE-L recall (Lin, 2004) with Porter stemming, with the tokens and numbers of `rouge-score`.

    Args:
        answer: The reference answer.
        output: The model's output.

    Returns:
        Length of the longest common subsequence over the number of tokens in `answer`. Only the letters a-z and digits
        are tokens; without any in one of the texts, 0.
    """
    reference, candidate = word_stems(answer), word_stems(output)
    if not reference or not candidate:
        return 0.0
    return common_subsequence_length(reference, candidate) / len(reference)


def rouge_l_f1(answer: str, output: str) -> float:
    """Compute ROUGE-L F1 (Lin, 2004) with Porter stemming, by which MUSE (arXiv:2407.06460) measures memorization.

    Args:
        answer: The reference answer.
        output: The model's output.

    Returns:
        Harmonic mean of precision and recall of the longest common subsequence of tokens, as `rouge-score` computes it;
        0 where a text has no token.
    """
    reference, candidate = word_stems(answer), word_stems(output)
    if not reference or not candidate:
        return 0.0
    return 2 * common_subsequence_length(reference, candidate) / (len(reference) + len(candidate))


def rouge_1_recall(answer: str, output: str) -> float:
    """Compute ROUGE-1 recall (Lin, 2004) with Porter stemming, as `rouge-score` does.

    Args:
        answer: The reference answer.
        output: The model's output.

    Returns:
        Share of the tokens in `answer` that are in `output`, in any order; 0 where a text has no token.
    """
    reference, candidate = Counter(word_stems(answer)), Counter(word_stems(output))
    return (reference & candidate).total() / max(reference.total(), 1)


def common_subsequence_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Compute the length of the longest common subsequence, bit-parallel.

    A row of the usual table is one integer, whose bit i is 0 where the length grows at token i of `one` (Hyyrö, "Bit-
    parallel LCS-length computation revisited", 2004).

    Args:
        one: Tokens.
        other: Tokens.
    """
    if one == other:
        return len(one)
    positions: dict[str, int] = {}
    for index, token in enumerate(one):
        positions[token] = positions.get(token, 0) | 1 << index
    all_bits = (1 << len(one)) - 1
    row = all_bits
    for token in other:
        if token in positions:  # else the row stays as it is
            matches = row & positions[token]
            row = ((row + matches) | (row - matches)) & all_bits
    return len(one) - row.bit_count()


class _Stems(dict[str, str]):
    """Word -> stem: a lookup costs a third of a call of a cached function."""

    def __init__(self, stem: Callable[[str], str]) -> None:
        super().__init__()
        self._stem = stem

    def __missing__(self, word: str) -> str:
        if len(self) >= _KNOWN_STEMS:
            self.clear()
        self[word] = stem = self._stem(word) if len(word) > 3 else word
        return stem


@cache
def _stems() -> _Stems:
    return _Stems(porter_stem())


def word_stems(text: str) -> list[str]:
    """The words of a text in lower case, stemmed.

    They are the tokens of `rouge_score.tokenize`, whose regular expressions replace, split and check in three passes.
    """
    return list(map(_stems().__getitem__, _WORD.findall(text.lower())))


def rouge(inputs: MetricInputs) -> float | Missing:
    """Compute ROUGE-L recall of the output from the texts, or take the logged one where there are no texts.

    An answer without a letter a-z or digit (another script) has no token for `rouge-score`: its recall is 0/0 and is
    reported missing, where the library would return 0.

    Args:
        inputs: One question.

    Returns:
        A number in [0, 1], or why there is none.
    """
    if inputs.answer is None or inputs.output is None:
        if inputs.logged_rouge is None:
            return inputs.explain_missing(
                "rouge", "there are neither the texts of answer and output nor a logged ROUGE"
            )
        return inputs.logged_rouge
    if not _WORD.search(inputs.answer.lower()):
        return inputs.explain_missing("rouge", "the answer has no letter a-z or digit, and ROUGE counts only those")
    return rouge_l_recall(inputs.answer, inputs.output)
