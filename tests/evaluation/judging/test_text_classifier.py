"""A classifier is read from its folder in float32, in inference mode, and its labels without its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from efface.evaluation.judging.text_classifier import load_text_classifier, read_labels


def test_labels_need_no_weights(classifier: Callable[[list[str]], Path]) -> None:
    folder = classifier(["noise", "clean"])
    (folder / "model.safetensors").unlink()
    assert read_labels(folder) == {0: "noise", 1: "clean"}


def test_model_is_float32_and_reads_as_many_tokens_as_it_has_positions(
    classifier: Callable[[list[str]], Path],
) -> None:
    loaded = load_text_classifier(classifier(["noise", "clean"]), "cpu")
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}
    assert not loaded.model.training
    assert loaded.max_length == 32
