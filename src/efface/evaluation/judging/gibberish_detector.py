"""Whether an output is readable text, according to a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from efface.errors import EffaceError
from efface.evaluation.judging.text_classifier import load_text_classifier, read_labels

_BATCH_SIZE = 32
_CLEAN = "clean"
"""The classifier's label of texts that are no gibberish."""


class GibberishDetector:
    """A text classifier of which one label is `clean`; open-unlearning's `classifier_prob` (arXiv:2506.12618)."""

    def __init__(self, name: str, folder: Path, device: torch.device | str) -> None:
        """Load the model.

        Args:
            name: Name of the model in records.
            folder: Folder of its files.
            device: Where it runs.

        Raises:
            EffaceError: When none, or more than one, of the model's labels is `clean`.
        """
        self.name = name
        self._clean = clean_label(name, read_labels(folder))
        self._classifier = load_text_classifier(folder, device)

    @torch.inference_mode()
    def probabilities(self, texts: Sequence[str], max_tokens: Sequence[int]) -> list[float]:
        """Compute the probability that each text is clean.

        Args:
            texts: Outputs of a model.
            max_tokens: How many tokens of each text are read, unless the classifier reads fewer.

        Returns:
            A number in [0, 1] for each text, in the same order.
        """
        model, tokenizer = self._classifier.model, self._classifier.tokenizer
        found: dict[int, float] = {}
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for limit in set(max_tokens):
            group = [index for index in by_length if max_tokens[index] == limit]
            for start in range(0, len(group), _BATCH_SIZE):
                batch = group[start : start + _BATCH_SIZE]
                inputs = tokenizer(
                    [texts[index] for index in batch],
                    padding=True,
                    truncation=True,
                    max_length=min(limit, self._classifier.max_length),
                    return_tensors="pt",
                ).to(model.device)
                clean_B = model(**inputs).logits.float().softmax(dim=-1)[:, self._clean]
                found.update(zip(batch, clean_B.tolist(), strict=True))
        return [found[index] for index in range(len(texts))]


def clean_label(name: str, id2label: dict[int, str]) -> int:
    """Find the label of readable texts.

    Args:
        name: Name of the classifier, for the message.
        id2label: Its labels.

    Returns:
        The index of the label `clean`, in any case.

    Raises:
        EffaceError: When there is none, or more than one.
    """
    ids = [index for index, label in id2label.items() if label.strip().lower() == _CLEAN]
    if len(ids) != 1:
        raise EffaceError(
            f"the gibberish detector {name!r} labels texts as {', '.join(id2label.values())}, and one label must be "
            f"{_CLEAN}; set evaluate.gibberish_detector to default or another model"
        )
    return ids[0]
