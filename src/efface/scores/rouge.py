"""R: how much of the answer's wording the output holds."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from efface.scores.question import Missing, Question


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # seconds to import (nltk)

    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l_recall(answer: str, output: str) -> float:
    """Longest common subsequence of `output` with `answer`, over the tokens of `answer`; Porter stemmer on.

    ROUGE (Lin, 2004) as in `rouge-score`, which sees only the letters a-z and digits.
    """
    return float(_scorer().score(answer, output)["rougeL"].recall)


def rouge(question: Question) -> float | Missing:
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
