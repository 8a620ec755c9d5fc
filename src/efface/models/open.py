"""Open a model as every command needs it: found, loaded, checked, and with the formatter for its prompts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface.errors import EffaceError
from efface.evaluation.config import Precision
from efface.models.dtypes import evaluation_dtype
from efface.models.folder import combined_sha256, model_folder, model_sums
from efface.models.load import load_model, random_model
from efface.models.tokenizer import NamedTokenizer, model_tokenizer
from efface.packing.forward import position_limit, vocabulary_size
from efface.packing.support import packing_unsupported_reason
from efface.progress.reporter import Reporter
from efface.sums import check_folder
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

_PUBLISHED_FORMATS = {"tofu_ft_llama2-7b": "llama2"}
"""Name of a published target model, without its owner -> the `text.format` that it was trained with."""


@dataclass(frozen=True)
class OpenedModel:
    """A model in memory, with its tokenizer and its folder."""

    source: Path
    """The folder that it was loaded from."""
    sha256: str
    """Digest of that folder (`model_sha256`)."""
    model: Any
    tokenizer: Any
    named_tokenizer: NamedTokenizer | None
    """Where the tokenizer is from, if it is not from `source`."""
    formatter: PromptFormatter


def open_model(
    name: str,
    text: TextConfig,
    *,
    tokenizer: str | None = None,
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
        tokenizer: Folder or hub name of its tokenizer; None if the model's folder has it.
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
    loaded = model_tokenizer(source, tokenizer)
    chosen = dtype or evaluation_dtype(source, device, precision)
    with ThreadPoolExecutor(max_workers=1) as beside:  # reading and hashing leave the interpreter free
        sums = beside.submit(model_sums, source)
        if random_seed is None:
            model = load_model(source, dtype=chosen, device=device, quantization=quantization)
        else:
            model = random_model(source, dtype=chosen, device=device, seed=random_seed)
    check_folder(source, sums.result())
    try:
        reason = packing_unsupported_reason(model)
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            f"model {name} fits into the GPU's memory, but 26 tokens next to it do not; use device=cpu or a "
            "smaller model"
        ) from error
    if reason is not None:
        reporter.on_warning(f"{reason}; its sequences are padded in batches of similar length, which is slower")
    warn_about_format(name, text.format, reporter)
    formatter = PromptFormatter(
        loaded.tokenizer,
        text,
        limit=position_limit(model),
        vocabulary=vocabulary_size(model),
        generation_stops=generation_stops(model),
    )
    return OpenedModel(
        source=source,
        sha256=combined_sha256(sums.result()),
        model=model,
        tokenizer=loaded.tokenizer,
        named_tokenizer=loaded.named,
        formatter=formatter,
    )


def generation_stops(model: Any) -> tuple[int, ...]:
    """Ids of all tokens at which a model's generation settings and its config end an output.

    Args:
        model: A causal language model of transformers.

    Returns:
        Ids that the model knows, in ascending order; Llama 3 Instruct has several.
    """
    known = vocabulary_size(model)
    settings = (model.generation_config, model.config, model.config.get_text_config())
    given = [getattr(each, "eos_token_id", None) for each in settings]
    listed = [id_ for each in given for id_ in (each if isinstance(each, list | tuple) else [each])]
    ids = {id_ for id_ in listed if isinstance(id_, int)}  # a file may contain anything
    return tuple(sorted(id_ for id_ in ids if 0 <= id_ < known))


def warn_about_format(name: str, text_format: str, reporter: Reporter) -> None:
    """Warn if a published model was trained with another format of questions and answers.

    Args:
        name: Name or folder of the model, as given by the user.
        text_format: The setting `text.format`.
        reporter: Gets the warning.
    """
    trained = _PUBLISHED_FORMATS.get(Path(name.partition("@")[0]).name)
    if trained is not None and trained != text_format:
        reporter.on_warning(
            f"model {name} was trained with text.format={trained}, and this is text.format={text_format}: it sees "
            f"other tokens than in training; set text.format={trained} (recipe=published of a preset does)"
        )
