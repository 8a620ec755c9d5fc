"""How much of an answer's wording an output has, in any script: of verdicts. Published metrics use `rouge.py`."""

from __future__ import annotations

from efface.scores.metrics.rouge import common_subsequence_length, rouge_l_recall, word_stems
from efface.words import words


def word_recall(answer: str, output: str) -> float:
    """Compute ROUGE-L recall over the words of any script; of an answer in ASCII, at least `rouge_l_recall`.

    Args:
        answer: The reference answer.
        output: The model's output.

    Returns:
        Length of the longest common subsequence of words over the number of words in `answer`; of characters where
        `answer` has no letter and no digit.
    """
    reference = stemmed_words(answer)
    if not reference:
        characters = "".join(answer.split())
        return common_subsequence_length(characters, "".join(output.split())) / max(len(characters), 1)
    rouge = rouge_l_recall(answer, output) if answer.isascii() else 0.0  # without a-z, a few digits would be all of it
    if answer.isascii() and output.isascii():
        return rouge
    return max(rouge, common_subsequence_length(reference, stemmed_words(output)) / len(reference))


def stemmed_words(text: str) -> list[str]:
    """The words of a text in any script; those in ASCII are stemmed, as ROUGE does.

    Args:
        text: In any script.
    """
    if text.isascii():
        return word_stems(text)
    return [stem for word in words(text) for stem in (word_stems(word) if word.isascii() else [word])]
