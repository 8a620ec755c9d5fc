from __future__ import annotations

import random

import pytest
import torch

from efface.errors import EffaceError
from efface.evaluation.judging.nli_judge import Claim, EntailmentVerdict, NliJudge

LABELS = ["ENTAILMENT", "Neutral", " contradiction"]


def one_by_one(folder, premise: str, hypothesis: str) -> str:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        inputs = tokenizer(premise, hypothesis, return_tensors="pt", truncation=True, max_length=32)
        return LABELS[int(model(**inputs).logits.argmax())].strip().lower()


def texts(count: int) -> list[str]:
    choose = random.Random(5)
    return [" ".join(choose.choices("abcdefghijklmnopqrstuvwxyz", k=choose.randint(0, 40))) for _ in range(count)]


def test_labels_are_those_of_single_pairs(classifier):
    folder = classifier(LABELS)
    judge = NliJudge("toy", folder, "cpu")
    outputs, targets = texts(12), texts(24)[12:]
    forward = [one_by_one(folder, output, target) for output, target in zip(outputs, targets, strict=True)]
    backward = [one_by_one(folder, target, output) for output, target in zip(outputs, targets, strict=True)]
    assert forward != backward
    assert len(set(forward)) > 1
    for premise, expected in (("output", forward), ("answer", backward)):
        claims = [Claim(output, target, None, premise) for output, target in zip(outputs, targets, strict=True)]
        assert judge.verdicts(claims) == [EntailmentVerdict(label) for label in expected]


@pytest.mark.parametrize(
    "labels", [["LABEL_0", "LABEL_1", "LABEL_2"], ["positive", "negative"], ["neutral", "contradiction"]]
)
def test_other_classifiers_are_refused(classifier, labels):
    with pytest.raises(EffaceError, match=rf"judge 'toy' labels texts as .*{labels[0]}.* natural-language inference"):
        NliJudge("toy", classifier(labels), "cpu")
