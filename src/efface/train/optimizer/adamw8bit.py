"""AdamW with 8-bit moments in flat buffers: few compiled calls per step, however many parameters there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from efface.train.distribution.shards import local_part

BLOCK = 256
"""Values that share a scale in an 8-bit moment."""
_MIN_8BIT = 4096
"""Smaller tensors, and those that are not a whole number of blocks, have moments in the dtype of the weights."""
_CHUNK = 1 << 28
"""Values that are updated by one call; a multiple of `BLOCK`. The call needs a few float32 copies of that many."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


def has_8bit_moments(parameter: Tensor, *, by_rows: bool = False) -> bool:
    """Whether the moments of a parameter have 8 bits.

    Args:
        parameter: The parameter, sharded or not.
        by_rows: Whether each row has to be a whole number of blocks, so that processes which have some of the rows have
            whole blocks, the same ones in any number of processes.
    """
    whole_blocks = parameter.shape[1:].numel() if by_rows else parameter.numel()
    return parameter.numel() >= _MIN_8BIT and whole_blocks % BLOCK == 0


@dataclass(frozen=True)
class _Flat:
    """Parameters whose moments are one after another in the same buffers."""

    parameters: Sequence[Tensor]
    """Of sharded ones, the moments are those of the rows that this process has."""
    group: dict[str, Any]
    """Their parameter group: learning rate, weight decay, betas, epsilon."""
    step: Tensor
    moments: Mapping[str, Tensor]
    """Name of a moment -> [N]: 8-bit codes, or the moment itself."""
    scales: Mapping[str, Tensor]
    """Name of a moment -> [N / BLOCK] in float32; empty where moments do not have 8 bits."""

    def ranges(self) -> Iterator[tuple[int, int, list[tuple[Tensor, int, int]]]]:
        """The buffers in parts of `_CHUNK` values: start and end, and which values of which parameters these are."""
        total = sum(map(_count, self.parameters))
        for start in range(0, total, _CHUNK):
            end, offset, pieces = min(start + _CHUNK, total), 0, []
            for parameter in self.parameters:
                first, last = max(start - offset, 0), min(end - offset, _count(parameter))
                if first < last:
                    pieces.append((parameter, first, last))
                offset += _count(parameter)
            yield start, end, pieces


class AdamW8bit(torch.optim.Optimizer):
    """AdamW with block-wise 8-bit moments (arXiv:2110.02861), computed by torchao.

    torchao's optimizer calls its compiled function for each parameter and compiles it for each shape. The update of a
    value depends on its own gradient and on the moments of its block alone, so here the gradients are concatenated and
    updated in few, equally long parts. Moments are the same; weights differ in what stochastic rounding draws.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, by_rows: bool = False) -> None:
        """Allocates nothing; the moments are allocated at the first step.

        Args:
            groups: Parameter groups with `weight_decay`; the parameters may be sharded.
            lr: The learning rate.
            by_rows: As in `has_8bit_moments`: whether parameters are sharded, in this process or when it is resumed.
        """
        # a number would be compiled into the function
        defaults = {
            "lr": torch.tensor(lr, dtype=torch.float32),
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
        }
        super().__init__(groups, defaults)
        for group in self.param_groups:
            group["lr"] = torch.tensor(lr, dtype=torch.float32)
        self._flats: list[_Flat] = []
        self._by_rows = by_rows

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override] # no closure, so no loss
        """Update the parameters from their gradients. Parameters that had none at the first step are left alone."""
        assert closure is None, "a closure is not supported"
        if not self._flats:
            self._allocate([each for each in self._parameters() if each.grad is not None])
        with torch._dynamo.utils.disable_cache_limit():
            for flat in self._flats:
                flat.step.add_(1)
                for start, end, pieces in flat.ranges():
                    _update(flat, start, end, pieces)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the moments of `state_dict()`, or those of torchao's own optimizer; settings stay as they are."""
        parameters, states = self._parameters(), state_dict["state"]
        self._allocate([parameters[index] for index in sorted(states)])
        for index, state in states.items():
            for name, value in _plain(state).items():
                target = self.state[parameters[index]][name]
                target.copy_(value.reshape(target.shape))

    def _parameters(self) -> list[Tensor]:
        return list(chain.from_iterable(group["params"] for group in self.param_groups))

    def _allocate(self, parameters: Sequence[Tensor]) -> None:
        """Make empty moments of these parameters; `state` has a view of them for each."""
        known, self._flats = set(map(id, parameters)), []
        for group in self.param_groups:
            kinds: dict[tuple[Any, ...], list[Tensor]] = {}
            for each in group["params"]:
                if id(each) in known:
                    small = has_8bit_moments(each, by_rows=self._by_rows)
                    kinds.setdefault((each.device, each.dtype, small), []).append(each)
            self._flats += [_empty(members, group, small=small) for (_, _, small), members in kinds.items()]
        for flat in self._flats:
            self._add_views(flat)

    def _add_views(self, flat: _Flat) -> None:
        offset = 0
        for parameter in flat.parameters:
            end = offset + _count(parameter)
            state = {"step": flat.step}
            for name in _MOMENTS:
                if flat.scales:
                    state[f"{name}_codes"] = flat.moments[name][offset:end]
                    state[f"{name}_scale"] = flat.scales[name][offset // BLOCK : end // BLOCK]
                else:
                    state[name] = flat.moments[name][offset:end]
            self.state[parameter] = state
            offset = end


def state_elements(key: str, elements: range) -> range:
    """Which elements of a flat state belong to some elements of a parameter.

    Args:
        key: Name of the state, such as `exp_avg_scale`.
        elements: Of the flattened parameter; whole blocks where its moments have 8 bits.
    """
    size = BLOCK if key.endswith("_scale") else 1
    return range(elements.start // size, elements.stop // size)


def _count(parameter: Tensor) -> int:
    """How many values of a parameter this process has."""
    return local_part(parameter.detach()).numel()


def _empty(parameters: Sequence[Tensor], group: dict[str, Any], *, small: bool) -> _Flat:
    """Moments of zero for parameters of one device, dtype and kind of moments."""
    total, first = sum(map(_count, parameters)), parameters[0]
    dtype = torch.uint8 if small else first.dtype
    return _Flat(
        parameters=parameters,
        group=group,
        step=torch.tensor(0.0),
        moments={name: torch.zeros(total, dtype=dtype, device=first.device) for name in _MOMENTS},
        scales={name: torch.zeros(total // BLOCK, device=first.device) for name in _MOMENTS} if small else {},
    )


def _update(flat: _Flat, start: int, end: int, pieces: Sequence[tuple[Tensor, int, int]]) -> None:
    """One call of torchao's function, for the values from `start` to `end` of the flat buffers."""
    from torchao.optim.adam import single_param_adam

    targets = [local_part(parameter.detach()).view(-1)[first:last] for parameter, first, last in pieces]
    grads = [
        torch.zeros_like(target) if parameter.grad is None else local_part(parameter.grad).reshape(-1)[first:last]
        for target, (parameter, first, last) in zip(targets, pieces, strict=True)
    ]
    weights, group = torch.cat(targets), flat.group
    torch.compile(single_param_adam, fullgraph=True, dynamic=False)(  # type: ignore[no-untyped-call]
        weights,
        torch.cat(grads),
        flat.step,
        *(_moment(flat, name, start, end) for name in _MOMENTS),
        None,
        group["lr"],
        *group["betas"],
        group["weight_decay"],
        group["eps"],
        True,  # AdamW
        weights.dtype is torch.bfloat16,  # stochastic rounding
    )
    torch._foreach_copy_(targets, list(weights.split([len(target) for target in targets])))


def _moment(flat: _Flat, name: str, start: int, end: int) -> Tensor:
    if not flat.scales:
        return flat.moments[name][start:end]
    from torchao.optim.subclass_8bit import OptimState8bit, get_qmap_signed, get_qmap_unsigned

    codes, scales, signed = flat.moments[name], flat.scales[name], name == "exp_avg"
    table = torch.tensor(get_qmap_signed() if signed else get_qmap_unsigned(), device=codes.device)
    state: Tensor = OptimState8bit(
        codes[start:end], scales[start // BLOCK : end // BLOCK], table, signed, flat.parameters[0].dtype
    )
    return state


def _plain(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state of one parameter as plain tensors, from that of torchao's own optimizer, too."""
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        if hasattr(value, "codes"):
            plain |= {f"{name}_codes": value.codes, f"{name}_scale": value.scale}
        else:
            plain[name] = value
    return plain
