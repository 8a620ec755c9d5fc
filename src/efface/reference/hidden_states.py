"""The reference as last hidden states, computed once: KL's whole distributions without a second model."""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from efface import distributed
from efface.atomic import atomic_file
from efface.errors import EffaceError
from efface.packing.forward import device_of, hidden_states, logits_of, unwrap_peft
from efface.packing.oom_retry import map_with_oom_backoff
from efface.packing.packed_batch import pack, to_device, token_batches
from efface.packing.support import packed_or_padded, packing_unsupported_reason
from efface.text.formatter import Positions, TokenizedSequence

HiddenStateRead = tuple[TokenizedSequence, Positions]
"""A sequence, and at which of its tokens a loss reads the next-token distribution."""

_DTYPES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32", torch.float64: "F64"}
"""As safetensors names them."""


class CachedHiddenStates:
    """Last hidden states of the model before unlearning, in a file, and a frozen copy of its head.

    The head on them gives the model's own distributions, at H numbers a token instead of V. The states are read from
    the file as they are asked for, so that memory does not grow with their number. They are in the dtype that the head
    multiplies in: under autocast, that one.
    """

    def __init__(self, path: Path, head: FrozenHead) -> None:
        self._file: Any = safe_open(path, framework="pt")
        self._head = head

    @classmethod
    def compute(
        cls,
        model: Any,
        reads: Iterable[HiddenStateRead],
        path: Path,
        *,
        max_tokens_per_forward: int,
        made_by: Mapping[str, str],
    ) -> CachedHiddenStates:
        """Write the states of the distinct sequences to `path`, in forwards of at most `max_tokens_per_forward` tokens.

        Dropout is off meanwhile; `model` is not needed afterwards. Of several processes, the first writes. `made_by`:
        what made them, as model, precision and versions. Raises `EffaceError` where memory does not hold one sequence,
        or the disk all of them.
        """
        wanted = _widest(reads)
        states = _states(model, wanted, max_tokens_per_forward)
        if distributed.is_main_process():
            with atomic_file(path) as beside, beside.open("wb") as file:
                _write(file, states, wanted, made_by)
        else:
            deque(states, maxlen=0)  # the same forwards: a model in shards needs all processes for each
        distributed.barrier()
        return cls(path, FrozenHead(model))

    @classmethod
    def load(cls, path: Path, model: Any, *, made_by: Mapping[str, str]) -> CachedHiddenStates | None:
        """Read what `compute` wrote with the same `model`; None where something else made it.

        Raises `EffaceError` for a damaged file.
        """
        try:
            found = cls(path, FrozenHead(model))
        except SafetensorError as error:
            raise EffaceError(f"{path} is damaged; remove it and go on with --resume") from error
        return found if found._file.metadata() == dict(made_by) else None

    def rows(self, sequences: Sequence[TokenizedSequence], positions: Positions) -> Tensor:
        """States [N, H] where `positions` reads, sequence by sequence, on the head's device.

        Raises `KeyError` for a sequence that was not computed, or not at all those tokens.
        """
        return to_device(torch.cat([self._read(item, positions) for item in sequences]), self._head.device)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [N, V] of states [N, H]."""
        return self._head(hidden)

    def _read(self, item: TokenizedSequence, positions: Positions) -> Tensor:
        count = _count(item, positions)
        try:
            states: Tensor = self._file.get_tensor(item.key)
        except SafetensorError:
            raise KeyError(item.key) from None
        if len(states) < count:
            raise KeyError(f"{item.key}, {positions}")
        return states[-count:]  # an answer's tokens are the last ones that are read


class FrozenHead:
    """A model's output embeddings as they are now, with the scaling of its logits."""

    def __init__(self, model: Any) -> None:
        inner = unwrap_peft(model)
        self._config = inner.config
        self._output = _frozen(inner.get_output_embeddings())

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        device: torch.device = self._output.weight.device
        return device

    @torch.no_grad()
    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits [N, V] of states [N, H]."""
        return logits_of(self._output, self._config, hidden)


def bytes_of(model: Any, reads: Iterable[HiddenStateRead]) -> int:
    """What the states of these sequences take on disk, in bytes."""
    weight = unwrap_peft(model).get_output_embeddings().weight
    rows = sum(count for _, count in _widest(reads).values())
    return rows * int(weight.shape[1]) * _matmul_dtype(weight).itemsize


def _frozen(output: Any) -> Any:
    """Output embeddings that training does not change: those themselves where it never does, else a copy."""
    dtype = _matmul_dtype(output.weight)
    if output.weight.dtype == dtype and not any(each.requires_grad for each in output.parameters()):
        return output
    return deepcopy(output).to(dtype).requires_grad_(False)


def _matmul_dtype(tensor: Tensor) -> torch.dtype:
    """In which dtype a linear layer multiplies `tensor` here: under autocast not its own."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def _count(item: TokenizedSequence, positions: Positions) -> int:
    return len(item.answer) if positions == "answer" else len(item) - 1


def _widest(reads: Iterable[HiddenStateRead]) -> dict[str, tuple[TokenizedSequence, int]]:
    """Each distinct sequence by its key, and how many of its last tokens are read at most."""
    wanted: dict[str, tuple[TokenizedSequence, int]] = {}
    for item, positions in reads:
        _, known = wanted.get(item.key, (item, 0))
        wanted[item.key] = item, max(known, _count(item, positions))
    return wanted


@torch.no_grad()
def _states(
    model: Any, wanted: Mapping[str, tuple[TokenizedSequence, int]], max_tokens_per_forward: int
) -> Iterator[tuple[str, Tensor]]:
    """Keys and states [count, H] on the CPU, forward by forward."""
    keys, device = list(wanted), device_of(model)
    items, counts = [item for item, _ in wanted.values()], [count for _, count in wanted.values()]

    def read(group: list[int]) -> list[tuple[str, Tensor]]:
        batch = pack([items[index] for index in group], device)
        reads = batch.reads("all")
        parts = hidden_states(model, batch)[reads.rows].split(reads.counts)
        kept = torch.cat([part[-counts[index] :] for index, part in zip(group, parts, strict=True)])
        split = kept.to(_matmul_dtype(kept)).cpu().split([counts[index] for index in group])
        return [(keys[index], states) for index, states in zip(group, split, strict=True)]

    def named(index: int) -> str:
        return (
            f"the {len(items[index])} tokens of item {items[index].id!r} alone, whatever train.max_tokens_per_forward is; "
            "use a smaller model or device=cpu"
        )

    was_training = model.training
    model.eval()
    try:
        with packed_or_padded(model):
            groups = token_batches(items, max_tokens_per_forward, shared=packing_unsupported_reason(model) is None)
            for _, found in map_with_oom_backoff(groups, read, named=named):
                yield from found
    finally:
        model.train(was_training)


def _write(
    file: BinaryIO,
    states: Iterator[tuple[str, Tensor]],
    wanted: Mapping[str, tuple[TokenizedSequence, int]],
    made_by: Mapping[str, str],
) -> None:
    """A safetensors file, each tensor as it comes: its own writer wants all of them in memory at once."""
    key, first = next(states)
    header: dict[str, Any] = {"__metadata__": dict(made_by)}
    end = 0
    for name, (_, count) in wanted.items():
        start, end = end, end + count * first[0].nbytes
        shape = [count, first.shape[1]]
        header[name] = {"dtype": _DTYPES[first.dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at a multiple of their size
    file.write(struct.pack("<Q", len(text)) + text)
    for name, each in chain([(key, first)], states):
        file.seek(8 + len(text) + header[name]["data_offsets"][0])
        file.write(each.contiguous().view(torch.uint8).numpy().data)
