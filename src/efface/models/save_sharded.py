"""Save a trained model: a sharded one tensor by tensor, so that no process has all of it in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from efface import distributed
from efface.files.atomic import atomic_folder
from efface.files.folders import RunPaths
from efface.files.tensor_file import TensorFile
from efface.hub import SHARDS_INDEX, WEIGHTS
from efface.models.dtypes import dtype_name, stored_dtype
from efface.models.lora import has_adapters, write_adapter
from efface.models.quantization import is_unquantized_base
from efface.models.save import save_model, write_tokenizer_and_generation
from efface.models.skeleton import Skeleton
from efface.packing.forward import unwrap_peft
from efface.train.distribution.parallel import ParallelModel
from efface.train.distribution.shards import whole_shape

_FILE_BYTES = 5 * 10**9
"""Most bytes in one file, unless a single tensor has more."""


def save_trained(
    trained: ParallelModel, skeleton: Skeleton | None, tokenizer: Any, folder: Path, *, source: Path, name: str
) -> None:
    """As `save_model`; every process must call this, and the main process writes.

    Args:
        trained: The trained model; not to be used afterwards.
        skeleton: What it was loaded as, if its weights were read row by row.
        tokenizer: Its tokenizer.
        folder: The new folder.
        source: As in `save_model`.
        name: As in `save_model`.

    Raises:
        EffaceError: Where a file cannot be written.
    """
    if skeleton is None or not trained.is_sharded:
        save_model(trained.full_model(), tokenizer, folder, source=source, name=name)
        trained.release()
        return
    tensors = trained.trained_tensors()
    if not distributed.is_main_process():
        deque(tensors, maxlen=0)  # each tensor is gathered from all processes
    else:
        write_trained(tensors, trained.meta_model, skeleton, tokenizer, folder, source=source, name=name)
    distributed.barrier()
    trained.release()


def write_trained(
    tensors: Iterable[tuple[str, Tensor]],
    meta_model: Any,
    skeleton: Skeleton,
    tokenizer: Any,
    folder: Path,
    *,
    source: Path,
    name: str,
) -> None:
    """Write what `save_model` writes, with one tensor of the model in memory at a time.

    Args:
        tensors: Name in `meta_model` and value of the trained weights.
        meta_model: The trained model on the meta device, inside PEFT if it has adapters; changed.
        skeleton: What the model was loaded as; weights that were not trained are read from its files.
        tokenizer: Its tokenizer.
        folder: The new folder.
        source: As in `save_model`.
        name: As in `save_model`.

    Raises:
        EffaceError: Where a file cannot be written.
    """
    if has_adapters(meta_model):
        adapters = dict(tensors)
        write_adapter(meta_model, RunPaths(folder.parent).adapter, base=name, weights=adapters)
        tensors = _merged(meta_model, adapters, skeleton, stored_dtype(source))
    _write_model(tensors, skeleton, tokenizer, folder, source=source)


def _write_model(
    tensors: Iterable[tuple[str, Tensor]], skeleton: Skeleton, tokenizer: Any, folder: Path, *, source: Path
) -> None:
    model, dtype = unwrap_peft(skeleton.model), stored_dtype(source)
    empty = {
        stored: torch.empty(whole_shape(module.get_parameter(name)), dtype=dtype, device="meta")
        for (module, name), stored in skeleton.names.items()
    }
    with atomic_folder(folder) as partial, ExitStack() as stack:
        partial.mkdir()
        files = _open_files(partial, empty, stack)
        left = dict.fromkeys(empty)
        for name, tensor in tensors:
            files[name].write(name, tensor)
            del left[name]
        for name in left:
            files[name].write(name, skeleton.read_all(name))
        config = deepcopy(model.config)
        config.architectures, config.dtype = [type(model).__name__], dtype_name(dtype)
        config.save_pretrained(partial)
        write_tokenizer_and_generation(tokenizer, model.generation_config, partial, source=source)


def _open_files(folder: Path, empty: Mapping[str, Tensor], stack: ExitStack) -> dict[str, TensorFile]:
    """Name of each tensor -> the file that it goes to, in files of `_FILE_BYTES` with an index, as transformers has."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in empty.items():
        if parts[-1] and size + tensor.nbytes > _FILE_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    stem = WEIGHTS.removesuffix(".safetensors")
    names = [f"{stem}-{number:05d}-of-{len(parts):05d}.safetensors" for number in range(1, len(parts) + 1)]
    if len(parts) == 1:
        names = [WEIGHTS]
    else:
        total = sum(each.nbytes for each in empty.values())
        weight_map = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / SHARDS_INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    files: dict[str, TensorFile] = {}
    for name, part in zip(names, parts, strict=True):
        file = stack.enter_context((folder / name).open("wb"))
        files |= dict.fromkeys(part, TensorFile(file, part, {"format": "pt"}))
    return files


@torch.no_grad()
def _merged(
    meta_model: Any, adapters: Mapping[str, Tensor], skeleton: Skeleton, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """Name and value of the weights with an adapter, merged by PEFT layer by layer into the stored weights.

    In the dtype of training where that has the stored weights exactly, otherwise in the stored dtype.
    """
    loaded = unwrap_peft(meta_model).get_input_embeddings().weight.dtype
    merged_in = loaded if is_unquantized_base(meta_model, dtype) else dtype
    for prefix, module in meta_model.named_modules():
        if not hasattr(module, "merge") or not hasattr(module, "get_base_layer"):
            continue
        base, name = module.get_base_layer(), f"{prefix}.weight".removeprefix("base_model.model.")
        base.weight = nn.Parameter(skeleton.read_all(name).to(merged_in), requires_grad=False)
        for key, parameter in list(module.named_parameters()):
            if (value := adapters.get(f"{prefix}.{key}")) is not None:
                owner, _, attribute = key.rpartition(".")
                setattr(module.get_submodule(owner), attribute, nn.Parameter(value, parameter.requires_grad))
        module.merge()
        yield name, base.weight
        base.weight = nn.Parameter(base.weight.to("meta"), requires_grad=False)
