"""Write a model as an ordinary Hugging Face folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from efface.files.atomic import atomic_folder
from efface.files.folders import RunPaths
from efface.main_process import on_main_process
from efface.models.dtypes import stored_dtype
from efface.models.load import load_model
from efface.models.lora import has_adapters, merge_adapter, write_adapter
from efface.models.quantization import dequantization_config, is_unquantized_base

_GENERATION = "generation_config.json"


def save_model(model: Any, tokenizer: Any, folder: Path, *, source: Path, name: str) -> None:
    """Write a model folder that is either complete or absent, in the dtype that the model came in.

    Adapters are merged into the weights, and saved next to `folder` as well. Where the model was quantized or loaded in
    another dtype, they are merged into the weights in `source`, so that nothing is rounded twice.

    Args:
        model: The trained model, inside PEFT if it has adapters; not to be used afterwards.
        tokenizer: Its tokenizer.
        folder: The new folder. Where several processes call, the main process's model is written.
        source: The folder that the model was loaded from; its generation settings are kept.
        name: The model's name as the user gave it, for the adapter's settings.

    Raises:
        EffaceError: Where a file cannot be written.
    """
    on_main_process(lambda: _save_model(model, tokenizer, folder, source=source, name=name))


def _save_model(model: Any, tokenizer: Any, folder: Path, *, source: Path, name: str) -> None:
    from transformers import GenerationConfig

    dtype = stored_dtype(source)
    if has_adapters(model):
        adapter = RunPaths(folder.parent).adapter
        write_adapter(model, adapter, base=name)
        if not is_unquantized_base(model, dtype):
            model = merge_adapter(load_model(source, dtype=dtype, device=torch.device("cpu")), adapter)
        else:
            model = model.merge_and_unload()
    model = model.to(dtype)
    # transformers may refuse to write settings that many published models have, such as a temperature without sampling
    generation, model.generation_config = model.generation_config, GenerationConfig()
    with atomic_folder(folder) as partial:
        # the "original" format has the weight names of the source's files, which dequantized weights do not match
        model.save_pretrained(partial, save_original_format=dequantization_config(source) is None)
        write_tokenizer_and_generation(tokenizer, generation, partial, source=source)


def write_tokenizer_and_generation(tokenizer: Any, generation: Any, folder: Path, *, source: Path) -> None:
    """Write what a model folder has besides config and weights.

    Args:
        tokenizer: The model's.
        generation: The model's generation settings.
        folder: The model folder, which exists.
        source: The folder that the model was loaded from; its generation settings are kept.
    """
    tokenizer.save_pretrained(folder)
    if (source / _GENERATION).is_file():
        shutil.copyfile(source / _GENERATION, folder / _GENERATION)
    else:  # transformers read them from the config.json of an older model
        generation.to_json_file(folder / _GENERATION)
