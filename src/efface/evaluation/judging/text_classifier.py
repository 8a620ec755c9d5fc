"""A text classifier from a folder, in the dtype of judges; neither code nor pickles of the folder are run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from efface.evaluation.judging.judge_dtype import judge_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True)
class TextClassifier:
    """A model, its tokenizer, and the number of tokens that it reads at most."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int


def read_labels(folder: Path) -> dict[int, str]:
    """Read the labels of a classifier without its weights.

    Args:
        folder: Folder of the model's files.

    Returns:
        Index of each logit -> label.
    """
    from transformers import AutoConfig

    labels: dict[int, str] = AutoConfig.from_pretrained(folder, **_SAFE).id2label
    return labels


def load_text_classifier(folder: Path, device: torch.device | str) -> TextClassifier:
    """Load a classifier for inference.

    Args:
        folder: Folder of the model's files.
        device: Where it runs.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, **_SAFE)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, **_SAFE, use_safetensors=True, dtype=judge_dtype(device)
    )
    model.to(device).eval()
    longest = tokenizer.model_max_length
    return TextClassifier(model, tokenizer, min(longest, getattr(model.config, "max_position_embeddings", longest)))
