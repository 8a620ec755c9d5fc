"""LoRA adapters: add them to a model, save them, merge them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from efface.errors import EffaceError, first_line
from efface.files.atomic import atomic_folder
from efface.hub import is_hub_name
from efface.train.config import LoRAConfig

ADAPTER_SETTINGS, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Files of an adapter, as PEFT names them."""
_CARD = """---
library_name: peft
{base}---

LoRA adapter of `{name}`. `../model` has it merged; `../config.yaml` and `../manifest.json` record how it was made.
"""

_STATE_SPACE_MODELS = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
"""Model types whose kernels use the weights of `out_proj` without calling the layer, so that PEFT refuses to
adapt it."""


def add_adapters(model: Any, config: LoRAConfig, *, seed: int) -> Any:
    """Wrap a model in PEFT with LoRA adapters (arXiv:2106.09685), which alone are trained.

    The adapters are on all linear layers of the decoder except the output head; in a mixture of experts, on those of
    attention only. They are in float32 and initially leave the model's output unchanged.

    Args:
        model: The base model; modified in place.
        config: Rank, scaling and dropout.
        seed: Seed of the adapters' weights; torch's global generator is left as it was.

    Returns:
        The PEFT model.

    Raises:
        EffaceError: Where the model has no linear layer for an adapter.
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
    with torch.random.fork_rng(), _placeholders(model):
        torch.manual_seed(seed)
        return get_peft_model(model, settings)


@contextmanager
def _placeholders(model: Any) -> Iterator[None]:
    """Replace weights on the meta device by ones on the CPU that take no memory; afterwards they are there, frozen.

    PEFT creates the adapter of a weight where the weight is, and one on the meta device would have no initial values.
    """
    replaced = []
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if weight.is_meta:
                replaced.append((module, name, weight))
                one = torch.empty((), dtype=weight.dtype)
                module.register_parameter(name, nn.Parameter(one.expand(weight.shape)))
    yield
    for module, name, weight in replaced:
        module.register_parameter(name, weight.requires_grad_(False))


def _target_modules(model: Any) -> list[str]:
    """Names of the layers that get adapters.

    transformers stores a layer's experts as one parameter. PEFT's adapters for such parameters have no dropout, and
    compute the full weights of all experts again in each forward.
    """
    from transformers.pytorch_utils import Conv1D

    decoder, head = model.get_decoder(), model.get_output_embeddings()
    in_decoder = {id(module) for module in decoder.modules() if module is not head}
    skipped = {name.split(".")[-2] for name in _expert_modules(decoder)}
    if model.config.model_type in _STATE_SPACE_MODELS:
        skipped.add("out_proj")
    targets = [
        name
        for name, module in model.named_modules()
        if id(module) in in_decoder and isinstance(module, nn.Linear | Conv1D) and skipped.isdisjoint(name.split("."))
    ]
    if not targets:
        raise EffaceError(f"train.lora: {type(model).__name__} has no linear layers for adapters; leave train.lora out")
    return targets


def has_experts(model: Any) -> bool:
    """Whether the model is a mixture of experts."""
    return bool(_expert_modules(model.get_decoder()))


def _expert_modules(decoder: Any) -> list[str]:
    """Names of the modules that hold the weights of a layer's experts as one parameter [experts, out, in]."""
    return [
        name
        for name, module in decoder.named_modules()
        if not isinstance(module, nn.Conv1d)
        and any(each.dim() == 3 and each.shape[0] > 1 for each in module.parameters(recurse=False))
    ]


def has_adapters(model: Any) -> bool:
    """Whether a model has adapters from `add_adapters`."""
    return hasattr(model, "merge_and_unload")


def write_adapter(model: Any, folder: Path, *, base: str, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write a model's adapter as a PEFT folder that is either complete or absent.

    Args:
        model: The PEFT model.
        folder: The new folder; one that is there is replaced.
        base: Name of the base model as the user gave it, `owner/name@revision` for one on the hub. PEFT by itself would
            record a path in this machine's cache.
        weights: Name of each adapter's parameter in `model` -> its value, where the model itself has none.

    Raises:
        EffaceError: Where a file cannot be written.
    """
    on_hub = is_hub_name(base)
    name, _, revision = base.partition("@") if on_hub else (base, "", "")
    settings = model.peft_config["default"]
    settings.base_model_name_or_path, settings.revision = name, revision or None
    settings.target_modules = sorted(settings.target_modules)  # a set, whose order differs between processes
    with atomic_folder(folder) as partial:
        # "auto" for the embeddings would send a request to the hub
        model.save_pretrained(partial, save_embedding_layers=False, state_dict=weights and dict(weights))
        # cards are published: name the model without this machine's folders
        card = _CARD.format(name=base if on_hub else Path(base).name, base=f"base_model: {name}\n" if on_hub else "")
        (partial / "README.md").write_text(card, encoding="utf-8")  # replaces the blank form that PEFT writes


def load_adapter(model: Any, folder: Path) -> None:
    """Give a model's new adapters the weights of a saved adapter, to go on training them.

    Args:
        model: The PEFT model from `add_adapters`; modified in place.
        folder: The adapter's folder, which `write_adapter` wrote.

    Raises:
        EffaceError: Where the adapter is of other layers or sizes.
    """
    from peft import set_peft_model_state_dict

    try:
        loaded = set_peft_model_state_dict(model, load_file(folder / ADAPTER_WEIGHTS))
        other = [*loaded.unexpected_keys, *(name for name in loaded.missing_keys if "lora_" in name)]
    except (RuntimeError, OSError, SafetensorError) as error:
        raise EffaceError(f"the adapter in {folder} does not load: {first_line(error)}") from error
    if other:
        raise EffaceError(
            f"the adapter in {folder} is of other layers than this model's (first {other[0]}); "
            "train a new one with train.lora.adapter=new"
        )


def merge_adapter(base: Any, adapter: Path) -> Any:
    """Merge a saved adapter into a model.

    Args:
        base: The base model; modified in place.
        adapter: The adapter's folder.

    Returns:
        The model with the adapter added to its weights, without PEFT.
    """
    from peft import PeftModel

    return PeftModel.from_pretrained(base, adapter).merge_and_unload()
