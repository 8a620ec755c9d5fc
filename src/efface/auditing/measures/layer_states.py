"""Hidden states of every layer at some positions, a fixed decoder for them, and a model that continues from others'."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from efface.auditing.attack import ModelAccess
from efface.errors import EffaceError
from efface.packing.forward import backbone_of, compute_logits, device_of, head_logits, unwrap_peft
from efface.packing.layers import layer_stack

_TOLERANCE = 1e-2
"""Of log-probabilities, in nats: half precision rounds differently where logits are computed at some positions only."""


@dataclass(frozen=True)
class Target:
    """Some tokens of a text, and the positions that predict them."""

    ids: list[int]
    """Of the whole text."""
    first: int
    """Index of the first of the tokens, at least 1; the position before it predicts it."""
    count: int
    """Number of tokens."""

    @property
    def positions(self) -> slice:
        """The positions that predict the tokens."""
        return slice(self.first - 1, self.first - 1 + self.count)

    @property
    def read(self) -> list[int]:
        """The ids that have to be read: no token attends to later ones."""
        return self.ids[: self.positions.stop]

    @property
    def tokens(self) -> list[int]:
        """The ids that are predicted."""
        return self.ids[self.first : self.first + self.count]


@torch.no_grad()
def layer_states(model: Any, target: Target) -> Tensor:
    """Read one text and keep what each layer gives, after the residual.

    Args:
        model: A causal language model of transformers.
        target: The text, and where.

    Returns:
        Hidden states [L, P, H].

    Raises:
        EffaceError: The model's layers are not found.
    """
    kept: list[Tensor] = []
    with _layer_hooks(model, lambda _, states: kept.append(states[0, target.positions].clone())):
        _read(model, [target.read])
    return torch.stack(kept)


@torch.no_grad()
def patched_logprobs(model: Any, target: Target, states_LPH: Tensor) -> Tensor:
    """Replace the output of one layer by that of another model and let the rest of the layers run.

    Args:
        model: The model that is patched, as many layers and as wide as the other.
        target: The text, and where its hidden states are replaced.
        states_LPH: Of the other model, from `layer_states`.

    Returns:
        For each layer, replaced alone, the mean log-probability of the target's tokens, [L].
    """
    layers = len(states_LPH)

    def replace(layer: int, states: Tensor) -> None:
        states[layer, -target.count :] = states_LPH[layer].to(states)  # row l has layer l replaced

    cache = _prefix_cache(model, target.ids[: target.positions.start], layers)
    new = target.read if cache is None else target.ids[target.positions]
    with _layer_hooks(model, replace):
        last = _read(model, [new] * layers, cache).last_hidden_state[:, -target.count :]
    logits = compute_logits(model, last.flatten(0, 1))
    return _mean_logprobs(logits, target.tokens * layers, layers)


@torch.no_grad()
def target_logprob(model: Any, target: Target) -> float:
    """Mean log-probability of the target's tokens under the model as it is.

    Args:
        model: A causal language model.
        target: The text, and which of its tokens are predicted.

    Returns:
        In nats per token.
    """
    return float(_mean_logprobs(compute_logits(model, _last_states(model, target)), target.tokens, 1))


class LensDecoder:
    """The final norm and the head of the model before unlearning: a fixed decoder of hidden states of any model.

    A model's own would be fooled by a changed head (logit lens; nostalgebraist, 2020).
    """

    def __init__(self, model: Any, before: ModelAccess | None) -> None:
        """Copy norm and head.

        Args:
            model: A model of the same architecture; it gives the classes.
            before: Has the weights; None if `model` is the model before.

        Raises:
            EffaceError: The model computes something else between its last layer and its logits.
        """
        inner = unwrap_peft(model)
        self._config = inner.config
        norm, head = _final_norm(model), inner.get_output_embeddings()
        probe = Target(list(range(3, 9)), 2, 4)
        own = compute_logits(model, _last_states(model, probe)).log_softmax(-1)
        ours = head_logits(head, self._config, norm(layer_states(model, probe)[-1])).log_softmax(-1)
        if not torch.allclose(own, ours, atol=_TOLERANCE):
            raise EffaceError(
                f"the lens cannot read {type(inner).__name__}: its logits are not those of its last layer, norm and "
                "head; leave lens out of audit.attacks"
            )
        names = {id(parameter): name for name, parameter in inner.named_parameters()}
        self._norm, self._head = copy.deepcopy(norm), copy.deepcopy(head)
        if before is not None:
            for module, original in ((self._norm, norm), (self._head, head)):
                for ours_, theirs in zip(module.parameters(), original.parameters(), strict=True):
                    ours_.data = before.tensor(names[id(theirs)]).to(theirs)

    @torch.no_grad()
    def logprobs(self, states_LPH: Tensor, tokens: Sequence[int]) -> Tensor:
        """Mean log-probability of tokens when each layer's states are decoded, [L].

        Args:
            states_LPH: From `layer_states`.
            tokens: Ids [P].
        """
        logits = head_logits(self._head, self._config, self._norm(states_LPH).flatten(0, 1))
        return _mean_logprobs(logits, list(tokens) * len(states_LPH), len(states_LPH))


def _mean_logprobs(logits: Tensor, tokens: list[int], layers: int) -> Tensor:
    """Means [L] of the log-probabilities of tokens [L x P] under logits [L x P, V]."""
    ids = torch.tensor(tokens, device=logits.device)
    logprobs = -torch.nn.functional.cross_entropy(logits, ids, reduction="none")
    return logprobs.view(layers, -1).mean(dim=1).double().cpu()


def _last_states(model: Any, target: Target) -> Tensor:
    """The last hidden states [P, H], after the final norm."""
    with torch.no_grad():
        states: Tensor = _read(model, [target.read]).last_hidden_state[0, target.positions]
    return states


def _read(model: Any, rows: list[list[int]], cache: Any = None) -> Any:
    """What the backbone gives for rows of equal length, after those in the cache."""
    ids = torch.tensor(rows, device=device_of(model))
    return backbone_of(model)(input_ids=ids, past_key_values=cache, use_cache=cache is not None)


def _prefix_cache(model: Any, prefix: list[int], rows: int) -> Any:
    """The KV cache of what all rows begin with, which patching later positions does not change.

    Returns:
        The cache; None for an empty prefix, and for models whose cache cannot be repeated.
    """
    if not prefix:
        return None
    ids = torch.tensor([prefix], device=device_of(model))
    cache: Any = getattr(backbone_of(model)(input_ids=ids, use_cache=True), "past_key_values", None)
    if not hasattr(cache, "batch_repeat_interleave"):
        return None
    cache.batch_repeat_interleave(rows)
    return cache


def _stack(model: Any) -> tuple[nn.Module, nn.ModuleList]:
    """The module that has the layers, and the layers."""
    found = layer_stack(model)
    inner = unwrap_peft(model)
    count = inner.config.get_text_config().num_hidden_layers
    if found is None or len(getattr(*found)) != count:
        raise EffaceError(
            f"the lens cannot read {type(inner).__name__}: it has no list of {count} layers; leave lens out of "
            "audit.attacks"
        )
    return found[0], getattr(*found)


def _final_norm(model: Any) -> nn.Module:
    """The module that is called after the last layer; the identity if there is none."""
    parent, layers = _stack(model)
    called: list[nn.Module] = []
    watched = [*(child for child in parent.children() if child is not layers), layers[-1]]
    handles = [each.register_forward_hook(lambda module, *_: called.append(module)) for each in watched]
    try:
        _last_states(model, Target([3, 4, 5], 1, 1))
    finally:
        for handle in handles:
            handle.remove()
    return nn.Identity() if called[-1] is layers[-1] else called[-1]


@contextmanager
def _layer_hooks(model: Any, visit: Callable[[int, Tensor], object]) -> Iterator[None]:
    """Inside, `visit` is called with the number and the output [B, T, H] of each layer, which it may change."""

    def hook(number: int) -> Callable[..., None]:
        def called(_module: nn.Module, _inputs: Any, output: Any) -> None:
            visit(number, output if isinstance(output, Tensor) else output[0])

        return called

    handles = [layer.register_forward_hook(hook(number)) for number, layer in enumerate(_stack(model)[1])]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
