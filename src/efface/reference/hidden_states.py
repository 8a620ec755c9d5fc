"""The reference model as stored last hidden states: full distributions for KL without a second model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from efface.errors import EffaceError
from efface.files.atomic import atomic_file
from efface.files.tensor_file import TensorFile
from efface.hardware.device import copy_to_device
from efface.packing.chunked_head import matmul_dtype
from efface.packing.forward import device_of, evaluation_mode, hidden_states, unwrap_peft
from efface.packing.layers import LayerPositions, layer_states
from efface.packing.oom_retry import map_with_oom_backoff
from efface.packing.packed_batch import pack
from efface.packing.padded_rows import PaddedSequence, StatePositions, input_length, padded_hidden_states
from efface.packing.support import packed_or_padded, packing_unsupported_reason
from efface.packing.token_batches import token_batches
from efface.reference.frozen_head import FrozenHead
from efface.text.sequence import TokenizedSequence

HiddenStateRequest = tuple[TokenizedSequence, StatePositions]
"""A sequence, and the positions at which a loss needs its hidden states."""

_Source = int | Literal["last", "row"]
"""Where states are from: the last ones of a sequence or of a padded row, or the output of a layer."""


class _Needed(NamedTuple):
    """The states of one distinct sequence or row."""

    item: TokenizedSequence
    positions: int
    """How many of its last positions are needed."""
    source: _Source


_Requested = Mapping[str, _Needed]
"""By the key in the file."""


class CachedHiddenStates:
    """Hidden states of the reference model, in a file, with a frozen copy of its head.

    The head computes the model's distributions from the last ones, so H numbers are stored for each token instead of V.
    States are read from the file when they are needed: memory does not grow with their number. The dtype of the last
    ones is that in which the head multiplies: under autocast, the dtype of autocast. Those of layers inside the model,
    which a loss compares as they are, have that of the weights.

    Args:
        path: a safetensors file, written by `compute`.
        head: the frozen head of the reference model.
    """

    def __init__(self, path: Path, head: FrozenHead) -> None:
        self._file: Any = safe_open(path, framework="pt")
        self._head = head

    @classmethod
    def compute(
        cls,
        model: Any,
        requests: Iterable[HiddenStateRequest],
        path: Path,
        *,
        max_tokens_per_forward: int,
        made_by: Mapping[str, str],
    ) -> CachedHiddenStates:
        """Compute the states of the distinct sequences, with dropout off, and write them to a file.

        The model is not needed afterwards.

        Args:
            model: the reference model.
            requests: all sequences that training will use, possibly with duplicates.
            path: the safetensors file to write.
            max_tokens_per_forward: the most tokens of one forward pass.
            made_by: what the states depend on: model, precision, versions.

        Raises:
            EffaceError: the memory is too small for a single sequence, or the disk is full.
        """
        requested = _merge_requests(requests)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            _write_states(file, model, requested, max_tokens_per_forward, made_by)
        return cls(path, FrozenHead(model))

    @classmethod
    def load(cls, path: Path, model: Any, *, made_by: Mapping[str, str]) -> CachedHiddenStates | None:
        """Open the file that `compute` wrote with the same `model`; None if it has another `made_by`.

        Raises:
            EffaceError: the file is damaged.
        """
        try:
            cached = cls(path, FrozenHead(model))
        except SafetensorError as error:
            raise EffaceError(f"{path} is damaged; remove it and continue with --resume") from error
        return cached if cached._file.metadata() == dict(made_by) else None

    def hidden_states(self, sequences: Sequence[TokenizedSequence], positions: StatePositions) -> Tensor:
        """Read states [N, H] at the selected positions, sequence by sequence, to the device of the head.

        Raises:
            KeyError: a sequence was not computed, or not at all of these positions.
        """
        states = torch.cat([self._read(item, positions) for item in sequences])
        return copy_to_device(states, self._head.device)

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute logits [N, V] of states [N, H]."""
        return self._head(hidden)

    def _read(self, item: TokenizedSequence, positions: StatePositions) -> Tensor:
        count = position_count(item, positions)
        try:
            states: Tensor = self._file.get_tensor(_key(item, positions))
        except SafetensorError:
            raise KeyError(_key(item, positions)) from None
        if len(states) < count:
            raise KeyError(f"{item.key}, {positions}")
        return states[-count:]  # the positions of an answer are the last ones


def stored_bytes(model: Any, requests: Iterable[HiddenStateRequest]) -> int:
    """Return the disk space of the states of these sequences, in bytes.

    Args:
        model: the reference model, for the size and dtype of its states.
        requests: what the losses read; a sequence that is in several is stored once, with the most positions.

    Returns:
        Bytes.
    """
    needed = _merge_requests(requests).values()
    return _width(model) * sum(each.positions * _dtype(model, each.source).itemsize for each in needed)


def _dtype(model: Any, source: _Source) -> torch.dtype:
    """The dtype in which states are stored."""
    weight: Tensor = unwrap_peft(model).get_output_embeddings().weight
    return weight.dtype if isinstance(source, int) else matmul_dtype(weight)


def _key(item: TokenizedSequence, positions: StatePositions) -> str:
    if isinstance(positions, LayerPositions):
        return f"{item.key}/layer {positions.layer}"
    return item.row_key if positions == "row" and isinstance(item, PaddedSequence) else item.key


def _source(positions: StatePositions) -> _Source:
    if isinstance(positions, LayerPositions):
        return positions.layer
    return "row" if positions == "row" else "last"


def position_count(item: TokenizedSequence, positions: StatePositions) -> int:
    """Return how many hidden states of a sequence are stored for these positions.

    Args:
        item: the sequence.
        positions: which states a loss reads: those of the answer, the sequence, a padded row, a layer.

    Returns:
        The number of states.
    """
    if isinstance(positions, LayerPositions):
        return item.answer_length if positions.positions == "answer" else len(item)
    if positions == "row":
        return input_length(item)
    return item.answer_length if positions == "answer" else len(item) - 1


def _merge_requests(requests: Iterable[HiddenStateRequest]) -> dict[str, _Needed]:
    """Each distinct sequence or row once, with the largest number of positions that any request needs."""
    requested: dict[str, _Needed] = {}
    for item, positions in requests:
        key, count = _key(item, positions), position_count(item, positions)
        known = requested[key].positions if key in requested else 0
        requested[key] = _Needed(item, max(known, count), _source(positions))
    return requested


@torch.no_grad()
def _compute_states(model: Any, requested: _Requested, max_tokens_per_forward: int) -> Iterator[tuple[str, Tensor]]:
    """Yield keys and states [count, H] on the CPU, forward pass by forward pass."""
    with evaluation_mode(model), packed_or_padded(model):
        for source in dict.fromkeys(needed.source for needed in requested.values()):
            part = {key: needed for key, needed in requested.items() if needed.source == source}
            yield from _compute_part(model, part, max_tokens_per_forward, source)


def _compute_part(
    model: Any, requested: _Requested, max_tokens_per_forward: int, source: _Source
) -> Iterator[tuple[str, Tensor]]:
    keys, needed = list(requested), list(requested.values())
    dtype = _dtype(model, source)

    def process(batch: list[int]) -> list[tuple[str, Tensor]]:
        parts = _states_of(model, [needed[index].item for index in batch], source)
        states = torch.cat([part[-needed[index].positions :] for index, part in zip(batch, parts, strict=True)])
        split = states.to(dtype).cpu().split([needed[index].positions for index in batch])
        return [(keys[index], each) for index, each in zip(batch, split, strict=True)]

    def describe(index: int) -> str:
        item = needed[index].item
        return (
            f"the {input_length(item)} tokens of item {item.id!r} alone, whatever train.max_tokens_per_forward is; "
            "use a smaller model or device=cpu"
        )

    if source == "row":
        size = max(1, max_tokens_per_forward // max((input_length(each.item) for each in needed), default=1))
        batches = iter([list(range(len(needed)))[start : start + size] for start in range(0, len(needed), size)])
    else:
        shared = packing_unsupported_reason(model) is None
        batches = token_batches([each.item for each in needed], max_tokens_per_forward, shared=shared)
    for _, states in map_with_oom_backoff(batches, process, describe=describe):
        yield from states


def _states_of(model: Any, items: Sequence[TokenizedSequence], source: _Source) -> Sequence[Tensor]:
    """The states of each sequence at all of its positions [count, H]."""
    if source == "row":
        rows: tuple[Tensor, ...] = padded_hidden_states(model, items).unbind()
        return rows
    packed = pack(items, device_of(model))
    at = packed.target_positions("all", own=isinstance(source, int))
    states = layer_states(model, packed, source) if isinstance(source, int) else hidden_states(model, packed)
    parts: tuple[Tensor, ...] = states[at.token_index].split(at.counts)
    return parts


def _write_states(
    file: BinaryIO, model: Any, requested: _Requested, max_tokens_per_forward: int, made_by: Mapping[str, str]
) -> None:
    """Write each tensor as soon as it is computed."""
    empty = {
        key: torch.empty(each.positions, _width(model), dtype=_dtype(model, each.source), device="meta")
        for key, each in requested.items()
    }
    tensors = TensorFile(file, empty, made_by)
    for key, tensor in _compute_states(model, requested, max_tokens_per_forward):
        tensors.write(key, tensor)


def _width(model: Any) -> int:
    """H, the number of hidden units."""
    weight = unwrap_peft(model).get_output_embeddings().weight
    return int(getattr(weight, "ds_shape", weight.shape)[1])  # DeepSpeed's, of a sharded weight
