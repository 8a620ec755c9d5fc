"""Hidden states inside a model: the output of one decoder layer, from a forward pass that ends there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from efface.errors import EffaceError
from efface.packing.forward import backbone_of, hidden_states, unwrap_peft
from efface.packing.packed_batch import PackedBatch
from efface.text.sequence import Positions

_Backbone = Callable[..., Tensor]
"""From the inputs of a backbone to hidden states [B, L, H]."""


@dataclass(frozen=True)
class LayerPositions:
    """Which hidden states of a layer a loss reads: those at the tokens themselves, not where these are predicted."""

    layer: int
    """Counted from 0."""
    positions: Positions
    """`answer` for the tokens of the answer, `all` for every token."""


def decoder_layers(model: Any) -> list[nn.Module]:
    """Return the layers of the decoder, as `layer_stack` finds them; none where there is no list of modules."""
    stack = layer_stack(model)
    return [] if stack is None else list(getattr(*stack))


def layer_stack(model: Any) -> tuple[nn.Module, str] | None:
    """Find the list of decoder layers: the first `ModuleList` with as many entries as the config has layers.

    Where there is none, it is the longest: that may be a list of experts, so it is only the second choice.

    Args:
        model: a causal language model, possibly inside PEFT.

    Returns:
        The module that has the list, and the list's name in it; None where the model has no list.
    """
    inner = unwrap_peft(model)
    count = getattr(inner.config.get_text_config(), "num_hidden_layers", None)
    found = [
        (len(child) == count, len(child), owner, name)
        for owner in inner.modules()
        for name, child in owner.named_children()
        if isinstance(child, nn.ModuleList)
    ]
    return max(found, key=lambda each: each[:2])[2:] if found else None


def check_layers(model: Any, layers: Iterable[int]) -> None:
    """Refuse layers that a model does not have.

    Args:
        model: a causal language model, possibly inside PEFT or on the meta device.
        layers: those that a method reads, counted from 0.

    Raises:
        EffaceError: the model has fewer layers.
    """
    count = len(decoder_layers(model))
    for layer in layers:
        if layer >= count:
            raise EffaceError(
                f"the method reads layer {layer}, and {type(unwrap_peft(model)).__name__} has {count} decoder layers; "
                f"set rmu.layer, or embed.layer, to one from 0 to {count - 1}"
            )


def layer_states(model: Any, batch: PackedBatch, layer: int) -> Tensor:
    """Compute the output of a decoder layer for a packed batch; later layers are not computed.

    Args:
        model: a causal language model inside `efface.packing.support.packed_or_padded(model)`.
        batch: sequences on the device of the model's inputs.
        layer: counted from 0; the model has it.

    Returns:
        Hidden states [T, H], one for each token of the packed row.
    """
    with _ended_after(model, layer) as backbone:
        return hidden_states(model, batch, backbone=backbone)


@contextmanager
def _ended_after(model: Any, layer: int) -> Iterator[_Backbone]:
    """Take the later layers out of the model; what the final norm makes of the last one's output is not used."""
    stack = layer_stack(model)
    assert stack is not None, "check_layers refuses a model without layers"
    owner, name = stack
    layers = getattr(owner, name)
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    def backbone(**inputs: Any) -> Tensor:
        outputs.clear()
        backbone_of(model)(**inputs)
        return outputs[0]

    hook = layers[layer].register_forward_hook(keep)
    setattr(owner, name, layers[: layer + 1])
    try:
        yield backbone
    finally:
        setattr(owner, name, layers)
        hook.remove()
