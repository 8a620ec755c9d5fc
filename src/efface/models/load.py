"""Load a model and its tokenizer from a folder, and refuse weights that do not match the config.json."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from efface.errors import EffaceError, first_line
from efface.models.dtypes import dtype_name
from efface.models.folder import load_model_config
from efface.models.quantization import dequantization_config, is_quantized, stored_quantization

_LAYER_WEIGHT = re.compile(r"(.*?)\.(\d+)\.(.*)")
"""Name of a layer's weight, such as `model.layers.3.mlp.up_proj.weight`: stack of layers, index, name in the layer."""


def load_model(folder: Path, *, dtype: torch.dtype, device: torch.device, quantization: Any = None) -> Any:
    """A causal language model in evaluation mode. Code that comes with a model is not run.

    Args:
        folder: The model's folder.
        dtype: The dtype of the weights. Models that are stored quantized stay quantized, and keep their other weights
            in their own dtype.
        device: Where the model goes.
        quantization: How to quantize its linear layers, from `quantization_config`; None to leave them unquantized.

    Returns:
        The model.

    Raises:
        EffaceError: Where it does not load, or would not compute what the stored model computes.
    """
    from transformers import AutoModelForCausalLM

    load_model_config(folder)  # refuses one that would create layers without end
    quantizer = quantization or dequantization_config(folder)
    stays_quantized = quantization is not None or stored_quantization(folder) is not None
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            device_map={"": device} if stays_quantized else None,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_loaded` reports them
            **({} if quantizer is None else {"quantization_config": quantizer}),  # None would override the folder's
        )
        if not stays_quantized:
            model = model.to(device)
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            f"model {folder} in {dtype_name(dtype)} does not fit into the GPU's memory; use device=cpu or a smaller "
            "model"
        ) from error
    except Exception as error:  # transformers, safetensors and the model's code each raise their own
        raise EffaceError(explain_load_error(folder, error)) from error
    check_loaded(folder, model, report)
    return fix_loaded_model(model, dtype).eval()


def random_model(folder: Path, *, dtype: torch.dtype, device: torch.device, seed: int) -> Any:
    """A model of the same architecture and size with untrained weights, in evaluation mode.

    Args:
        folder: Folder of the model to copy the architecture from.
        dtype: The dtype of the weights, which are drawn in float32.
        device: Where the model goes.
        seed: Seed of the weights; torch's global generator is left as it was.

    Returns:
        The model.

    Raises:
        EffaceError: Where transformers cannot initialize one.
    """
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            model = AutoModelForCausalLM.from_config(
                load_model_config(folder), dtype=torch.float32, trust_remote_code=False
            )
        except Exception as error:  # the model's code may raise anything
            raise EffaceError(
                f"weights=random: transformers cannot initialize a model like {folder}: {first_line(error)}"
            ) from error
    return fix_loaded_model(model.to(device=device, dtype=dtype), dtype).eval()


def explain_load_error(folder: Path, error: Exception) -> str:
    """The sentence for a model that transformers does not load, with what to do.

    Args:
        folder: The model's folder.
        error: What transformers, safetensors or the model's code raised.
    """
    reason, remedy = first_line(error), "give a causal language model that save_pretrained has written"
    if isinstance(error, SafetensorError):
        damaged = [path.name for path in sorted(folder.glob("*.safetensors")) if not _opens(path)]
        reason = f"{', '.join(damaged) or 'a file of weights'} is damaged or incomplete ({reason})"
        remedy = "copy or download it again"
    return f"model {folder} does not load as a causal language model: {reason}; {remedy}"


def _opens(path: Path) -> bool:
    try:
        with safe_open(path, framework="np"):
            return True
    except (OSError, SafetensorError):
        return False


def check_loaded(folder: Path, model: Any, report: Any) -> None:
    """Refuse what transformers only warns of: weights that are missing, of another shape, or of other layers.

    Args:
        folder: Of the model, for messages.
        model: The loaded model.
        report: The loading report of transformers.

    Raises:
        EffaceError: There are such weights.
    """
    from transformers.pytorch_utils import Conv1D

    remedy = "give the config.json that it was saved with"
    if mismatched := sorted(report["mismatched_keys"]):
        name, stored, expected = mismatched[0]
        raise EffaceError(
            f"model {folder} stores {name} with shape {list(stored)}, but its config.json needs {list(expected)}; "
            f"{remedy}"
        )
    if missing := sorted(report["missing_keys"]):
        raise EffaceError(
            f"model {folder}: {len(missing)} of its weights are missing, such as {missing[0]}; copy the model again, "
            "with all its files"
        )
    if extra := _extra_layers(model, report["unexpected_keys"]):
        raise EffaceError(f"model {folder} stores {extra[0]}, a layer that its config.json does not have; {remedy}")
    linear = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D))
    if unknown := sorted(name for name in report["unexpected_keys"] if name.startswith(linear)):
        raise EffaceError(
            f"model {folder} stores {unknown[0]}, which that layer does not have according to config.json, so that it "
            f"would compute something else; {remedy}"
        )


def _extra_layers(model: Any, unexpected: Iterable[str]) -> list[str]:
    """Stored layers beyond the model's last one that have the same weights as its layers.

    Extra layers with other weights are legitimate, such as those that predict further tokens (DeepSeek, GLM).
    """
    known = [match.groups() for name in model.state_dict() if (match := _LAYER_WEIGHT.match(name))]
    layers, weights = {(stack, index) for stack, index, _ in known}, {(stack, name) for stack, _, name in known}
    extra: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for name in unexpected:
        if (match := _LAYER_WEIGHT.match(name)) and (match[1], match[2]) not in layers:
            extra[match[1], match[2]].add((match[1], match[3]))
    return sorted(f"{stack}.{index}" for (stack, index), stored in extra.items() if stored <= weights)


def fix_loaded_model(model: Any, dtype: torch.dtype) -> Any:
    """Correct what some versions of transformers and bitsandbytes load differently from how the model was trained.

    Args:
        model: A causal language model as it was loaded; changed in place.
        dtype: The requested dtype; it replaces bf16 in the weights of a model that is not quantized.

    Returns:
        The same model.
    """
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        model.set_attn_implementation("eager")  # sdpa, the default of transformers 5.17, skips the soft-capping
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # otherwise bitsandbytes 0.50 repacks 4-bit weights in the first forward in evaluation mode, for a kernel
            # without gradients
            module.support_avx512bf16_for_cpu = False
    if is_quantized(model):  # packed weights have whatever dtype their storage needs
        return model
    for parameter in model.parameters():
        if parameter.dtype == torch.bfloat16:  # transformers 5.17 leaves dequantized weights in bf16
            parameter.data = parameter.data.to(dtype)
    return model
