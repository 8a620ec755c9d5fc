"""Open a model as every command needs it: found, loaded, checked, and with the formatter for its prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface.errors import EffaceError
from efface.evaluation.config import Precision
from efface.models.dtypes import evaluation_dtype
from efface.models.folder import model_folder, model_sha256
from efface.models.load import load_model, load_tokenizer, random_model
from efface.packing.forward import position_limit, vocabulary_size
from efface.packing.support import packing_unsupported_reason
from efface.progress.reporter import Reporter
from efface.text.formatter import PromptFormatter, TextConfig


@dataclass(frozen=True)
class OpenedModel:
    """A model in memory, with its tokenizer and its folder."""

    source: Path
    """The folder that it was loaded from."""
    sha256: str
    """Digest of that folder (`model_sha256`)."""
    model: Any
    tokenizer: Any
    formatter: PromptFormatter


def open_model(
    name: str,
    text: TextConfig,
    *,
    device: torch.device,
    reporter: Reporter,
    dtype: torch.dtype | None = None,
    precision: Precision = "auto",
    quantization: Any = None,
    random_seed: int | None = None,
) -> OpenedModel:
    """Load a model and check that it gives a batch of sequences the same logits as each sequence alone.

    Args:
        name: A local folder, or the name of a model on the Hugging Face hub.
        text: How questions and answers become tokens.
        device: Where the model goes.
        reporter: Warned where the model's sequences have to be padded.
        dtype: Dtype of the weights. Default: that of an evaluation with `precision`.
        precision: `evaluate.precision`, where `dtype` is not given.
        quantization: How to quantize the model, from `quantization_config`; None to leave it unquantized.
        random_seed: Seed of untrained weights to use in place of the stored ones; None for the stored ones.

    Returns:
        The model.

    Raises:
        EffaceError: For a model that cannot be used.
    """
    source = model_folder(name)
    tokenizer = load_tokenizer(source)
    chosen = dtype or evaluation_dtype(source, device, precision)
    if random_seed is None:
        model = load_model(source, dtype=chosen, device=device, quantization=quantization)
    else:
        model = random_model(source, dtype=chosen, device=device, seed=random_seed)
    try:
        reason = packing_unsupported_reason(model)
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            f"model {name} fits into the GPU's memory, but 26 tokens next to it do not; use device=cpu or a "
            "smaller model"
        ) from error
    if reason is not None:
        reporter.on_warning(f"{reason}; its sequences are padded in batches of similar length, which is slower")
    formatter = PromptFormatter(tokenizer, text, limit=position_limit(model), vocabulary=vocabulary_size(model))
    return OpenedModel(
        source=source, sha256=model_sha256(source), model=model, tokenizer=tokenizer, formatter=formatter
    )
