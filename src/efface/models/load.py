"""Models and tokenizers: loading, hashing, and writing an ordinary Hugging Face folder."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from efface import distributed
from efface.atomic import atomic_folder
from efface.errors import EffaceError, first_line
from efface.evaluation.config import Precision
from efface.hub import MODEL_FILES, UnavailableError, missing_shards, resolve_model
from efface.models.lora import (
    has_adapters,
    has_experts,
    is_quantized,
    is_unquantized_base,
    merge_adapter,
    write_adapter,
)
from efface.train.config import TrainConfig

_GENERATION = "generation_config.json"
_MXFP4 = "mxfp4"
_IN_LAYER = re.compile(r"(.*?)\.(\d+)\.(.*)")
"""The name of a weight of a layer, such as `model.layers.3.mlp.up_proj.weight`: its stack, its number and the rest."""


def model_folder(name: str) -> Path:
    """The local folder of a model: given as one, or fetched from the hub into its cache (`efface.hub.resolve_model`).

    Raises `EffaceError` for a folder without settings or whole safetensors weights, for a name, revision or token
    that the hub does not accept, and for an unreachable hub.
    """
    try:
        folder = resolve_model(name)
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

    `quantization` rounds its linear layers (`efface.models.lora.quantization_config`); what is stored rounded stays
    so, and the rest of such a model in its own dtype. Raises `EffaceError` for what would not load as it was stored.
    """
    from transformers import AutoModelForCausalLM

    rounding = quantization or _dequantization_config(folder)
    stays_rounded = quantization is not None or _stored_quantization(folder) not in (None, _MXFP4)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            device_map={"": device} if stays_rounded else None,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `_check_loaded` tells which they are
            **({} if rounding is None else {"quantization_config": rounding}),  # None would hide that of the folder
        )
        if not stays_rounded:
            model = model.to(device)
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            f"the GPU's memory does not hold model {folder} in {str(dtype).removeprefix('torch.')}; "
            "use device=cpu or a smaller model"
        ) from error
    except Exception as error:  # transformers, safetensors and the model's own code each raise their own
        raise EffaceError(f"model {folder} does not load as a causal language model: {first_line(error)}") from error
    _check_loaded(folder, model, report)
    return _fix_loaded_model(model, dtype).eval()


def random_model(folder: Path, *, dtype: torch.dtype, device: torch.device, seed: int) -> Any:
    """A model of the same architecture and size with untrained weights, in evaluation mode.

    Raises `EffaceError` where transformers cannot make one.
    """
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            model = AutoModelForCausalLM.from_config(model_config(folder), dtype=torch.float32, trust_remote_code=False)
        except Exception as error:  # the model's own code raises what it likes
            raise EffaceError(f"weights=random: {folder} cannot be made anew: {first_line(error)}") from error
    return _fix_loaded_model(model.to(device=device, dtype=dtype), dtype).eval()


def _check_loaded(folder: Path, model: Any, report: Any) -> None:
    """Refuse what transformers only warns of: weights that are not there, of another shape, or for other layers."""
    from transformers.pytorch_utils import Conv1D

    if mismatched := sorted(report["mismatched_keys"]):
        name, stored, wanted = mismatched[0]
        raise EffaceError(
            f"model {folder} stores {name} as {list(stored)}, where its config.json wants {list(wanted)}; give the "
            "config.json that it was saved with"
        )
    if missing := sorted(report["missing_keys"]):
        raise EffaceError(f"model {folder} lacks {len(missing)} of its weights, such as {missing[0]}; copy it whole")
    if beyond := _extra_layers(model, report["unexpected_keys"]):
        raise EffaceError(
            f"model {folder} stores {beyond[0]}, a layer that its config.json does not have; give the config.json that "
            "it was saved with"
        )
    linear = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D))
    if strange := sorted(name for name in report["unexpected_keys"] if name.startswith(linear)):
        raise EffaceError(
            f"model {folder} stores {strange[0]}, which the layer in its config.json does not have, and would compute "
            "something else; give the config.json that it was saved with"
        )


def _extra_layers(model: Any, unexpected: Iterable[str]) -> list[str]:
    """Stored layers that are made as the model's own are, and that it does not have.

    Others may follow for good reasons: those that predict further tokens (DeepSeek, GLM) have weights of their own.
    """
    own = [match.groups() for name in model.state_dict() if (match := _IN_LAYER.match(name))]
    layers, weights = {(stack, number) for stack, number, _ in own}, {(stack, rest) for stack, _, rest in own}
    others: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for name in unexpected:
        if (match := _IN_LAYER.match(name)) and (match[1], match[2]) not in layers:
            others[match[1], match[2]].add((match[1], match[3]))
    return sorted(f"{stack}.{number}" for (stack, number), made_of in others.items() if made_of <= weights)


def _fix_loaded_model(model: Any, dtype: torch.dtype) -> Any:
    """Mend what some versions of transformers and bitsandbytes load otherwise than the model was made to compute."""
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        model.set_attn_implementation("eager")  # sdpa, the default of 5.17, leaves the capping out
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # else 0.50 packs 4 bits anew in the first forward in evaluation mode, for a kernel without gradients
            module.support_avx512bf16_for_cpu = False
    if is_quantized(model):  # numbers of fewer bits may lie in any dtype
        return model
    for parameter in model.parameters():
        if parameter.dtype == torch.bfloat16:  # what 5.17 leaves weights in that had to be made whole
            parameter.data = parameter.data.to(dtype)
    return model


def _dequantization_config(folder: Path) -> Any:
    """What gives GPT-OSS whole weights, which is published in 4 bits alone; None for other models."""
    from transformers import Mxfp4Config

    return Mxfp4Config(dequantize=True) if _stored_quantization(folder) == _MXFP4 else None


def _stored_quantization(folder: Path) -> str | None:
    """The name of the method by which a model's weights were rounded before they were stored; None for whole ones."""
    settings = getattr(model_config(folder), "quantization_config", None)
    return str(settings.get("quant_method", "bitsandbytes")) if settings else None  # once, it was the only one


def check_trainable_weights(folder: Path, model: Any, config: TrainConfig) -> None:
    """Refuse to train weights that are stored rounded, and to round a model most of which would stay whole.

    `model` is that of `folder`. Raises `EffaceError`.
    """
    method = _stored_quantization(folder)
    if method not in (None, _MXFP4):
        raise EffaceError(
            f"model {folder} is stored in few bits ({method}), which training cannot change; give the model that it "
            "was made from, with train.lora.bits=4 where memory is short"
        )
    bits = config.lora.bits if config.lora else None
    if bits is not None and has_experts(model):
        raise EffaceError(
            f"train.lora.bits={bits}: bitsandbytes does not round the experts of {type(model).__name__}, which are "
            "most of it; leave train.lora.bits out"
        )


def save_model(model: Any, tokenizer: Any, folder: Path, *, source: Path, name: str) -> None:
    """Write an ordinary Hugging Face folder, whole or not at all; a PEFT model is merged, its adapter beside.

    `source`: the folder that the model was loaded from, whose dtype and generation settings are kept; `name`: what
    the user calls it. Adapters of a model that was rounded, to few bits or from another dtype, are added to the
    weights of `source`, where no second rounding follows. `model` is not to be used afterwards. Of several processes,
    the first one's is written.
    """
    distributed.on_main_process(lambda: _save_model(model, tokenizer, folder, source=source, name=name))


def _save_model(model: Any, tokenizer: Any, folder: Path, *, source: Path, name: str) -> None:
    from transformers import GenerationConfig

    dtype = stored_dtype(source)
    if has_adapters(model):
        adapter = folder.with_name("adapter")
        write_adapter(model, adapter, base=name)
        if not is_unquantized_base(model, dtype):
            model = merge_adapter(load_model(source, dtype=dtype, device=torch.device("cpu")), adapter)
        else:
            model = model.merge_and_unload()
    model = model.to(dtype)
    # transformers may refuse to write settings that many published models have, such as a temperature and no sampling
    generation, model.generation_config = model.generation_config, GenerationConfig()
    with atomic_folder(folder) as beside:
        # "original" names are those of the source's file: no good for weights that had to be made whole
        model.save_pretrained(beside, save_original_format=_dequantization_config(source) is None)
        tokenizer.save_pretrained(beside)
        if (source / _GENERATION).is_file():
            shutil.copyfile(source / _GENERATION, beside / _GENERATION)
        else:  # taken from the config.json of an older model
            generation.to_json_file(beside / _GENERATION)


def evaluation_dtype(source: Path, device: torch.device, precision: Precision = "auto") -> torch.dtype:
    """What the model of a folder is evaluated in, where `evaluate.precision` is `precision`."""
    return evaluation_dtype_of(model_config(source), device, precision)


def evaluation_dtype_of(settings: Any, device: torch.device, precision: Precision) -> torch.dtype:
    """The same of a model's config.json: by default the dtype it is stored in on a GPU, float32 on a CPU."""
    if precision == "auto":
        return _dtype_of(settings) if device.type == "cuda" else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def model_config(folder: Path) -> Any:
    """The config.json of a model folder. Raises `EffaceError` for one that does not load."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers and the model's own settings each raise their own
        raise EffaceError(f"model {folder} has a config.json that does not load: {first_line(error)}") from error


def stored_dtype(folder: Path) -> torch.dtype:
    """The dtype that a model folder's config names; float32 where it names none."""
    return _dtype_of(model_config(folder))


def _dtype_of(settings: Any) -> torch.dtype:
    return settings.dtype if isinstance(settings.dtype, torch.dtype) else torch.float32
