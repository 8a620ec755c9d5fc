"""The probability that a text is clean is that of transformers' own pipeline, at any length and in any batch."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.evaluation.judging.gibberish_detector import GibberishDetector
from support.messages import assert_names

LABELS = ["noise", " Clean", "word salad"]


def test_probabilities_are_those_of_the_pipeline(classifier: Callable[[list[str]], Path]) -> None:
    from transformers import pipeline

    folder, choose = classifier(LABELS), random.Random(3)
    classify: Any = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    texts = ["", *(" ".join(choose.choices("abcdefgh", k=choose.randint(1, 60))) for _ in range(70))]
    limits = [choose.choice([8, 512]) for _ in texts]
    found = GibberishDetector("toy", folder, "cpu").probabilities(texts, limits)
    assert max(found) - min(found) > 0.1
    for at in (0, *range(1, 71, 7)):
        longest = min(limits[at], 32)  # the model has 32 positions
        (labels,) = classify([texts[at]], truncation=True, max_length=longest)
        (expected,) = (each["score"] for each in labels if each["label"] == " Clean")
        assert found[at] == pytest.approx(expected, abs=1e-6), texts[at]


def test_what_is_cut_off_does_not_count(classifier: Callable[[list[str]], Path]) -> None:
    detector = GibberishDetector("toy", classifier(LABELS), "cpu")
    short, long = "a b c d e f", "a b c d e f g h"
    cut = detector.probabilities([short, long, long], [8, 8, 32])
    assert cut[0] == pytest.approx(cut[1], abs=1e-6)
    assert cut[1] != pytest.approx(cut[2], abs=1e-3)


@pytest.mark.parametrize("labels", [["LABEL_0", "LABEL_1"], ["clean", "Clean "]])
def test_other_classifiers_are_refused(classifier: Callable[[list[str]], Path], labels: list[str]) -> None:
    with pytest.raises(EffaceError) as error:
        GibberishDetector("toy", classifier(labels), "cpu")
    assert_names(str(error.value), "'toy'", labels[0], "clean", "evaluate.gibberish_detector")
