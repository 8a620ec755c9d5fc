"""Models and tokenizers: loading, hashing, and writing an ordinary Hugging Face folder."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch

from efface.errors import EffaceError
from efface.hub import MODEL_FILES, UnavailableError, local_copy, missing_shards
from efface.run.adapters import is_adapted, is_rounded, merged, write_adapter
from efface.run.config import Device
from efface.train.checkpoint import first_line, folder_written_beside

_GENERATION = "generation_config.json"


def model_folder(name: str) -> Path:
    """The local folder of a model: given as one, or fetched from the hub into its cache (`efface.hub.local_copy`).

    Raises `EffaceError` for a folder without settings or whole safetensors weights, for a name, revision or token
    that the hub does not accept, and for an unreachable hub.
    """
    try:
        folder = local_copy(name)
    except UnavailableError as error:
        raise EffaceError(f"model: {error}; give the folder of a model as model=FOLDER") from error
    if not (folder / "config.json").is_file():
        raise EffaceError(f"model {name} has no config.json; give a folder written by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        raise EffaceError(f"model {name} has no safetensors weights; convert it (pickled weights are not loaded)")
    if missing := missing_shards(folder):
        raise EffaceError(f"model {name} lacks {missing[0]}, which its index lists; copy or download it whole")
    return folder


def model_sha256(folder: Path) -> str:
    """One digest of what a model is loaded from: settings, tokenizer, chat template and weights."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MODEL_FILES for path in folder.glob(pattern)):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder. Raises `EffaceError` where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise EffaceError(
            f"model {folder} has no tokenizer that loads ({first_line(error)}); save one there"
        ) from error


def load_model(folder: Path, *, dtype: torch.dtype, device: torch.device, quantization: Any = None) -> Any:
    """A causal language model in evaluation mode. Code that comes with a model is not run.

    `quantization` rounds its linear layers (`efface.run.adapters.quantization`); `dtype` is that of the rest.
    """
    from transformers import AutoModelForCausalLM

    rounded = {} if quantization is None else {"quantization_config": quantization, "device_map": {"": device}}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, **rounded
        )
        return (model if rounded else model.to(device)).eval()
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            f"the GPU's memory does not hold model {folder} in {str(dtype).removeprefix('torch.')}; "
            "use device=cpu or a smaller model"
        ) from error
    except Exception as error:  # transformers, safetensors and the model's own code each raise their own
        raise EffaceError(f"model {folder} does not load as a causal language model: {first_line(error)}") from error


def device_for(choice: Device) -> torch.device:
    """The device asked for; `auto` is CUDA where there is one."""
    if choice == "cuda" and not torch.cuda.is_available():
        raise EffaceError("device=cuda: torch sees no CUDA device here; use device=cpu or auto")
    return torch.device("cuda" if choice != "cpu" and torch.cuda.is_available() else "cpu")


def save_model(model: Any, tokenizer: Any, folder: Path, *, source: Path, name: str) -> None:
    """Write an ordinary Hugging Face folder, whole or not at all; a PEFT model is merged, its adapter beside.

    `source`: the folder that the model was loaded from, whose dtype and generation settings are kept; `name`: what
    the user calls it. Adapters of a rounded model are added to the whole weights of `source`, where no second
    rounding follows. `model` is not to be used afterwards.
    """
    from transformers import GenerationConfig

    dtype = stored_dtype(source)
    if is_adapted(model):
        adapter = folder.with_name("adapter")
        write_adapter(model, adapter, base=name)
        if is_rounded(model):
            model = merged(load_model(source, dtype=dtype, device=torch.device("cpu")), adapter)
        else:
            model = model.merge_and_unload()
    model = model.to(dtype)
    own_generation = (source / _GENERATION).is_file()
    if own_generation:  # as it came: transformers refuses to write settings that many published models have
        model.generation_config = GenerationConfig()
    with folder_written_beside(folder) as beside:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        if own_generation:
            shutil.copyfile(source / _GENERATION, beside / _GENERATION)


def evaluation_dtype(source: Path, device: torch.device) -> torch.dtype:
    """What models are evaluated in: on a GPU the dtype they are stored in, on a CPU float32, which it is faster in."""
    return stored_dtype(source) if device.type == "cuda" else torch.float32


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_memory` count from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that a GPU's tensors took since `reset_peak_memory`; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def stored_dtype(folder: Path) -> torch.dtype:
    """The dtype that a model folder's config names; float32 where it names none."""
    from transformers import AutoConfig

    dtype = AutoConfig.from_pretrained(folder, trust_remote_code=False).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32
