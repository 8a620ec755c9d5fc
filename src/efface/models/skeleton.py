"""A model without memory for its weights, which are read row by row from its files where they are needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from efface.errors import EffaceError, first_line
from efface.hub import SHARDS_INDEX, WEIGHTS
from efface.models.folder import load_model_config
from efface.models.load import check_loaded, explain_load_error, fix_loaded_model
from efface.models.quantization import dequantization_config, stored_quantization


@dataclass(frozen=True)
class Skeleton:
    """A model of transformers in evaluation mode whose parameters are on torch's meta device; its buffers are real."""

    model: Any
    files: Mapping[str, Path]
    """Name of each parameter, as in the model's state_dict -> the safetensors file that has it."""
    names: Mapping[tuple[nn.Module, str], str]
    """Module and name of a parameter in it -> name in the files; also once the model is inside PEFT."""

    def read(self, module: nn.Module, name: str, start: int, stop: int) -> Tensor:
        """Rows of a stored weight.

        Args:
            module: A module of the model.
            name: Of the parameter in the module.
            start: The first row.
            stop: The row after the last one.

        Raises:
            EffaceError: The file cannot be read.
        """
        return self._read(self.names[module, name], slice(start, stop))

    def read_all(self, name: str) -> Tensor:
        """A stored weight by its name in the files.

        Raises:
            EffaceError: The file cannot be read.
        """
        return self._read(name, slice(None))

    def _read(self, stored: str, rows: slice) -> Tensor:
        path = self.files[stored]
        try:
            with safe_open(path, framework="pt") as file:  # closed each time: pages that were read count as memory
                read: Tensor = file.get_slice(stored)[rows]
                return read.clone()
        except (OSError, SafetensorError) as error:
            raise EffaceError(f"cannot read {stored} of {path}: {first_line(error)}; copy the model again") from error


def load_skeleton(folder: Path, *, dtype: torch.dtype) -> Skeleton | None:
    """A model whose weights stay in its files.

    Args:
        folder: The model's folder.
        dtype: The dtype that the weights are to have.

    Returns:
        The model; None where the files do not have the weights as the model has them, but quantized, in parts, or under
        other names: then only transformers can load it, all of it.

    Raises:
        EffaceError: The model cannot be made, or the files have weights of other shapes or further layers.
    """
    if stored_quantization(folder) is not None or dequantization_config(folder) is not None:
        return None
    shapes, files = _stored_tensors(folder)
    model = _empty_model(folder, dtype)
    needed = {name for name, _ in model.named_parameters()}
    persistent = model.state_dict().keys() - {name for name, _ in model.named_parameters(remove_duplicate=False)}
    if not needed <= files.keys() or persistent or _is_converted(model, files, dtype):
        return None
    _check_files(folder, model, needed, shapes)
    return Skeleton(model=fix_loaded_model(model, dtype).eval(), files=files, names=_names(model))


def _names(model: Any) -> dict[tuple[nn.Module, str], str]:
    """Module and name of a parameter in it -> its first name in the model; a tied one has several places."""
    first: dict[nn.Parameter, str] = {}
    names = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            names[module, name] = first.setdefault(parameter, f"{prefix}.{name}" if prefix else name)
    return names


def _stored_tensors(folder: Path) -> tuple[dict[str, list[int]], dict[str, Path]]:
    """Name of each stored tensor -> its shape; and -> its file. Both empty where the files have unusual names."""
    index = folder / SHARDS_INDEX
    if index.is_file():
        paths = {folder / name for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    else:
        paths = {folder / WEIGHTS} if (folder / WEIGHTS).is_file() else set()
    shapes, files = {}, {}
    for path in sorted(paths):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    shapes[name], files[name] = file.get_slice(name).get_shape(), path
        except (OSError, SafetensorError) as error:
            raise EffaceError(f"{path} does not load: {first_line(error)}; copy the model again") from error
    return shapes, files


def _empty_model(folder: Path, dtype: torch.dtype) -> Any:
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import GENERATION_CONFIG_NAME

    try:
        with init_empty_weights(include_buffers=False):  # buffers are computed, not stored
            # transformers writes the dtype into the config that it is given
            config = deepcopy(load_model_config(folder))
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    except Exception as error:  # transformers and the model's code each raise their own
        raise EffaceError(explain_load_error(folder, error)) from error
    model.tie_weights()
    if (folder / GENERATION_CONFIG_NAME).is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model


def _is_converted(model: Any, files: Mapping[str, Path], dtype: torch.dtype) -> bool:
    """Whether transformers changes what is stored under the names of the model, or keeps some of it in float32."""
    from transformers.conversion_mapping import get_model_conversion_mapping

    in_float32 = getattr(model, "_keep_in_fp32_modules", None) or getattr(model, "_keep_in_fp32_modules_strict", None)
    if dtype in (torch.float16, torch.bfloat16) and in_float32:
        return True
    conversions = [each for each in get_model_conversion_mapping(model) if getattr(each, "operations", None)]
    return any(each.rename_source_key(name)[1] is not None for each in conversions for name in files)


def _check_files(folder: Path, model: Any, needed: set[str], shapes: Mapping[str, list[int]]) -> None:
    expected = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    report = {
        "missing_keys": [],
        "mismatched_keys": [
            (name, shapes[name], expected[name]) for name in needed if list(shapes[name]) != expected[name]
        ],
        "unexpected_keys": shapes.keys() - model.state_dict().keys(),
    }
    check_loaded(folder, model, report)
