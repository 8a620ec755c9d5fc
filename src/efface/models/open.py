"""A model as every command needs it: found, loaded, checked, and with the way to put questions to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface.errors import EffaceError
from efface.evaluation.config import Precision
from efface.models.load import evaluation_dtype, load_model, load_tokenizer, model_folder, model_sha256, random_model
from efface.packing.forward import position_limit, vocabulary_size
from efface.packing.support import packing_unsupported_reason
from efface.progress.reporter import Reporter
from efface.text.formatter import PromptFormatter, TextConfig


@dataclass(frozen=True)
class OpenedModel:
    """A model that was loaded from a folder."""

    source: Path
    """That folder."""
    sha256: str
    """Of what it was loaded from."""
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
    rounding: Any = None,
    random_seed: int | None = None,
) -> OpenedModel:
    """Load the model `name` onto `device` and check that it gives the same logits to many sequences as to one.

    `dtype`: by default that in which models are evaluated with `precision`. `rounding`: what `adapters.quantization`
    gave. `random_seed`: give the model untrained weights instead of its own. Raises `EffaceError` for a model that
    cannot be used.
    """
    source = model_folder(name)
    tokenizer = load_tokenizer(source)
    kind = dtype or evaluation_dtype(source, device, precision)
    if random_seed is None:
        model = load_model(source, dtype=kind, device=device, quantization=rounding)
    else:
        model = random_model(source, dtype=kind, device=device, seed=random_seed)
    try:
        why = packing_unsupported_reason(model)
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            f"the GPU's memory holds model {name}, but not a dozen tokens beside it; use device=cpu or a smaller model"
        ) from error
    if why is not None:
        reporter.on_warning(f"{why}; its sequences are padded to rows of like length, which takes longer")
    formatter = PromptFormatter(tokenizer, text, limit=position_limit(model), vocabulary=vocabulary_size(model))
    return OpenedModel(
        source=source, sha256=model_sha256(source), model=model, tokenizer=tokenizer, formatter=formatter
    )
