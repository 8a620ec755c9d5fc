"""LoRA: adapters in a model whose weights are whole or rounded, and the folder they are saved in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from efface.atomic import atomic_folder
from efface.errors import EffaceError, first_line
from efface.hub import is_hub_name
from efface.packing.forward import unwrap_peft
from efface.train.config import LoRAConfig, TrainConfig

_CARD = """---
library_name: peft
{base}---

LoRA adapter of `{name}`. `../model` has it merged; `../config.yaml` and `../manifest.json` tell how it was made.
"""

_STATE_SPACES = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
"""Types of models whose kernels read the weights of `out_proj` without calling it, so that PEFT refuses it."""


def add_adapters(model: Any, config: LoRAConfig, *, seed: int) -> Any:
    """The model inside PEFT, with LoRA on its linear layers (`_target_modules`); only the adapters train.

    At first the adapters add nothing: `seed` decides the half of their weights that is not zero. They are in
    float32, whatever the model is in.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    targets = _target_modules(model)
    settings = LoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        fan_in_fan_out=isinstance(model.get_submodule(targets[0]), Conv1D),  # GPT-2 keeps its weights transposed
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, settings)


def _target_modules(model: Any) -> list[str]:
    """Names of the layers that get adapters: the decoder's linear ones; in a mixture of experts, of attention alone.

    transformers keeps a layer's experts as one parameter. PEFT has adapters for such, but without dropout, and each
    forward would make the whole weights of all experts anew. Raises `EffaceError` where no layer is left.
    """
    from transformers.pytorch_utils import Conv1D

    decoder, head = model.get_decoder(), model.get_output_embeddings()
    within = {id(module) for module in decoder.modules() if module is not head}
    passed_over = {name.split(".")[-2] for name in _expert_modules(decoder)}
    if model.config.model_type in _STATE_SPACES:
        passed_over.add("out_proj")
    found = [
        name
        for name, module in model.named_modules()
        if id(module) in within and isinstance(module, nn.Linear | Conv1D) and passed_over.isdisjoint(name.split("."))
    ]
    if not found:
        raise EffaceError(f"train.lora: {type(model).__name__} has no linear layers for adapters; leave train.lora out")
    return found


def has_experts(model: Any) -> bool:
    """Whether the model is a mixture of experts."""
    return bool(_expert_modules(model.get_decoder()))


def _expert_modules(decoder: Any) -> list[str]:
    """Modules that hold the weights of all experts of a layer as one parameter, [experts, out, in]."""
    return [
        name
        for name, module in decoder.named_modules()
        if not isinstance(module, nn.Conv1d)
        and any(each.dim() == 3 and each.shape[0] > 1 for each in module.parameters(recurse=False))
    ]


def has_adapters(model: Any) -> bool:
    """Whether `model` is one that `add_adapters` returned."""
    return hasattr(model, "merge_and_unload")


def is_quantized(model: Any) -> bool:
    """Whether the model was loaded with `quantization_config` or from rounded weights, adapted or not."""
    return getattr(unwrap_peft(model), "is_quantized", False) is True


def is_unquantized_base(model: Any, dtype: torch.dtype) -> bool:
    """Whether the base of an adapted model holds the numbers that were stored in `dtype`, none of them rounded."""
    held = unwrap_peft(model).get_input_embeddings().weight.dtype
    return not is_quantized(model) and held in (dtype, torch.float32)


def quantization_config(config: TrainConfig, device: torch.device) -> Any:
    """How transformers shall round the base model of adapters when it loads it; None for whole weights.

    4 bits are NF4 (arXiv:2305.14314), multiplied in the precision of training; 8 bits are LLM.int8
    (arXiv:2208.07339), multiplied in integers. Head, embeddings and norms stay whole.
    """
    from transformers import BitsAndBytesConfig

    match config.lora.bits if config.lora else None:
        case 4:
            precision = torch.bfloat16 if config.bf16_on(device.type) else torch.float32
            return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=precision)
        case 8:
            return BitsAndBytesConfig(load_in_8bit=True)
    return None


def check_quantization(config: LoRAConfig, device: torch.device) -> None:
    """Round a few numbers on `device`. Raises `EffaceError` where bitsandbytes is missing or does not work there."""
    if config.bits is None:
        return
    asked = f"train.lora.bits={config.bits}"
    try:
        from bitsandbytes import functional

        numbers = torch.zeros(1, 64, dtype=torch.float16, device=device)
        if config.bits == 4:
            functional.quantize_4bit(numbers, quant_type="nf4")
        else:
            functional.int8_vectorwise_quant(numbers)
    except ModuleNotFoundError as error:
        raise EffaceError(f"{asked} needs bitsandbytes; install it with: pip install 'efface[quantized]'") from error
    except Exception as error:  # whatever its libraries of each device raise
        raise EffaceError(
            f"{asked}: bitsandbytes does not work on {device.type} here ({first_line(error)}); install a version "
            "that does, or leave train.lora.bits out"
        ) from error


def write_adapter(model: Any, folder: Path, *, base: str) -> None:
    """Write the adapter of a PEFT model, whole or not at all, as one of the model `base`.

    `base` is the name that the user gave, `owner/name@revision` for one on the hub: what PEFT notes by itself is
    a path in this machine's cache.
    """
    on_hub = is_hub_name(base)
    name, _, revision = base.partition("@") if on_hub else (base, "", "")
    settings = model.peft_config["default"]
    settings.base_model_name_or_path, settings.revision = name, revision or None
    settings.target_modules = sorted(settings.target_modules)  # a set until now, whose order differs by process
    with atomic_folder(folder) as beside:
        model.save_pretrained(beside, save_embedding_layers=False)  # "auto" would ask the hub
        # a card is made to be shown: without the folders of this machine
        card = _CARD.format(name=base if on_hub else Path(base).name, base=f"base_model: {name}\n" if on_hub else "")
        (beside / "README.md").write_text(card, encoding="utf-8")  # PEFT's own is an empty form


def merge_adapter(base: Any, adapter: Path) -> Any:
    """The model `base` with the adapter in `adapter` added to its weights."""
    from peft import PeftModel

    return PeftModel.from_pretrained(base, adapter).merge_and_unload()
