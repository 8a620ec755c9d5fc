"""What computes a training step: the operations of transformers, fused ones of Liger-Kernel, or compiled layers.

The replacements last for one step: evaluation before training, between its steps and after it always computes with the
operations of transformers. Weights and their names do not change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from efface.errors import EffaceError, install_hint
from efface.packing import attention
from efface.packing.forward import unwrap_peft
from efface.packing.layers import decoder_layers
from efface.train.config import TrainConfig
from efface.train.optimizer.optimizer import missing_compiler

_ABSENT = object()
_LIGER_CLASSES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
"""Model type -> how the names of its classes begin. Their norms, SwiGLU and rotary embeddings are those of Llama."""


class Replacement(NamedTuple):
    """An attribute that has another value while a step is computed."""

    owner: Any
    """A module of the model, whose `forward` is replaced, or the module of Python that has a function."""
    name: str
    value: Callable[..., Any]


def check_kernels(config: TrainConfig, device: torch.device) -> None:
    """Refuse kernels that this machine does not have.

    Args:
        config: Settings of training.
        device: To train on.

    Raises:
        EffaceError: A GPU, a package or a compiler is missing.
    """
    if config.kernels == "liger":
        if device.type != "cuda":
            raise EffaceError(
                f"train.kernels=liger needs a CUDA device, and this training is on {device.type}; use "
                "train.kernels=torch"
            )
        if find_spec("liger_kernel") is None:
            raise EffaceError(
                f"train.kernels=liger needs liger-kernel, which is not installed; {install_hint('liger')}"
            )
    if config.kernels == "compiled" and (missing := missing_compiler(device)):
        raise EffaceError(f"train.kernels=compiled needs {missing}; or use train.kernels=torch")


def replacements(model: Any, config: TrainConfig) -> Sequence[Replacement]:
    """What to replace in a model for its training steps.

    Args:
        model: Of transformers or PEFT.
        config: Settings of training.

    Returns:
        Attributes and their values, for `replaced`.

    Raises:
        EffaceError: The model's architecture is not covered.
    """
    if config.kernels == "torch":
        return ()
    return _of_liger(unwrap_peft(model)) if config.kernels == "liger" else _compiled(model)


@contextmanager
def replaced(items: Sequence[Replacement]) -> Iterator[None]:
    """Inside, attributes have other values; afterwards their own ones, also after an error."""
    before = [vars(owner).get(name, _ABSENT) for owner, name, _ in items]
    try:
        for owner, name, value in items:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(items, before, strict=True):
            if value is _ABSENT:
                vars(owner).pop(name, None)
            else:
                setattr(owner, name, value)


def _of_liger(model: Any) -> Sequence[Replacement]:
    """Liger-Kernel's RMSNorm, SwiGLU and rotary embeddings; its losses are not used."""
    kind, activation = model.config.model_type, getattr(model.config, "hidden_act", "another activation")
    if kind not in _LIGER_CLASSES or activation != "silu":
        raise EffaceError(
            f"train.kernels=liger covers {', '.join(sorted(_LIGER_CLASSES))} with silu, and this model is {kind} with "
            f"{activation}; use train.kernels=torch"
        )
    from liger_kernel.transformers.functional import liger_rms_norm, liger_rope, liger_swiglu

    def norm(self: Any, hidden_states: Tensor) -> Tensor:
        # not in place: the gradient that arrives may be used elsewhere
        normed: Tensor = liger_rms_norm(hidden_states, self.weight, self.variance_epsilon, in_place=False)
        return normed

    def mlp(self: Any, x: Tensor) -> Tensor:
        output: Tensor = self.down_proj(liger_swiglu(self.gate_proj(x), self.up_proj(x)))
        return output

    def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
        rotated: tuple[Tensor, Tensor] = liger_rope(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim)
        return rotated

    modeling, prefix = sys.modules[type(model).__module__], _LIGER_CLASSES[kind]
    forwards = {getattr(modeling, f"{prefix}RMSNorm"): norm, getattr(modeling, f"{prefix}MLP"): mlp}
    modules = [module for module in model.modules() if type(module) in forwards]
    return [
        *(Replacement(each, "forward", MethodType(forwards[type(each)], each)) for each in modules),
        Replacement(modeling, "apply_rotary_pos_emb", rotate),
    ]


def _compiled(model: Any) -> Sequence[Replacement]:
    """Layers without their attention, in graphs that all layers of a class and all lengths of a batch share.

    Compiled in smaller parts (norm, SwiGLU, rotary embeddings), calling these takes the time that they save. What was
    compiled before in this process is dropped: torch keeps eight versions of a function, and the next trainings of a
    search or queue, whose models are others, would compute without graphs.
    """
    torch.compiler.reset()
    layers = decoder_layers(model)
    kinds: set[Any] = set(map(type, layers))
    compiled = {kind: torch.compile(kind.forward, dynamic=True) for kind in kinds}
    uncompiled = torch.compiler.disable(attention.packed_attention)  # its shapes depend on the batch
    return [
        *(Replacement(each, "forward", MethodType(compiled[type(each)], each)) for each in layers),
        Replacement(attention, "packed_attention", uncompiled),
    ]
