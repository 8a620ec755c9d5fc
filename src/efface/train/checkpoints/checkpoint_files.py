"""Tensors in safetensors files: whole, or some of their rows or elements in each of several files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from efface.files.tensor_file import TensorFile

_FIRST_ROWS = "first_rows"
"""In a file's metadata: JSON of name -> index of the first row that it has, for tensors of which it has some rows."""
_FLAT_SHAPES = "flat_shapes"
"""In a file's metadata: JSON of name -> shape of the whole tensor, for tensors whose rows here are single elements."""


@dataclass(frozen=True)
class CheckpointFile:
    """A file to write."""

    name: str
    tensors: Mapping[str, Tensor]
    first_rows: Mapping[str, int] = field(default_factory=dict)
    """Tensors of which these are some rows -> the index of the first."""
    flat_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Tensors that were cut after they were flattened, so that each row is an element -> the shape of the whole."""
    is_copy: bool = False
    """Whether nothing else uses these tensors."""

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(each.nbytes for each in self.tensors.values())

    def on_cpu(self) -> CheckpointFile:
        """The same file with copies on the CPU, which training does not change."""
        if self.is_copy:
            return self
        copies = {name: torch.empty_like(tensor, device="cpu").copy_(tensor) for name, tensor in self.tensors.items()}
        return CheckpointFile(self.name, copies, self.first_rows, self.flat_shapes, is_copy=True)

    def write(self, folder: Path) -> None:
        """Write it into `folder`, which exists."""
        metadata = {_FIRST_ROWS: json.dumps(dict(self.first_rows))} if self.first_rows else {}
        if self.flat_shapes:
            metadata[_FLAT_SHAPES] = json.dumps({name: list(shape) for name, shape in self.flat_shapes.items()})
        with (folder / self.name).open("wb") as opened:
            file = TensorFile(opened, self.tensors, metadata)
            for name, tensor in self.tensors.items():
                file.write(name, tensor)


class StoredTensors:
    """What is in such files, read when it is needed."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Open the files.

        Args:
            paths: Those of one set.

        Raises:
            SafetensorError: A file is damaged.
        """
        self._parts: dict[str, list[tuple[int, Any]]] = {}
        self._flat_shapes: dict[str, list[int]] = {}
        for path in paths:
            file: Any = safe_open(path, framework="pt")
            metadata = file.metadata() or {}
            first_rows = json.loads(metadata.get(_FIRST_ROWS, "{}"))
            self._flat_shapes |= json.loads(metadata.get(_FLAT_SHAPES, "{}"))
            for name in file.keys():  # noqa: SIM118 - not a mapping
                self._parts.setdefault(name, []).append((first_rows.get(name, 0), file))
        for parts in self._parts.values():
            parts.sort(key=lambda part: part[0])

    @property
    def names(self) -> list[str]:
        """Of all tensors."""
        return list(self._parts)

    def read(self, name: str, rows: range | None = None) -> Tensor:
        """A tensor, or some of its rows.

        Args:
            name: One of `names`.
            rows: Indices into the first dimension of the whole tensor; all by default, also of a scalar.

        Raises:
            ValueError: Some of the rows are in no file.
        """
        if (shape := self._flat_shapes.get(name)) is None:
            return self._read_rows(name, rows)
        size = math.prod(shape[1:])
        chosen = range(shape[0]) if rows is None else rows
        return self._read_rows(name, range(chosen.start * size, chosen.stop * size)).view(len(chosen), *shape[1:])

    def read_elements(self, name: str, elements: range) -> Tensor:
        """Elements of a tensor that is flattened, or the scalar itself.

        Args:
            name: One of `names`.
            elements: Indices into the flattened tensor.

        Raises:
            ValueError: Some of the elements are in no file.
        """
        if name in self._flat_shapes:
            return self._read_rows(name, elements)
        shape = self._parts[name][0][1].get_slice(name).get_shape()
        size = math.prod(shape[1:])
        rows = range(elements.start // size, -(-elements.stop // size))
        read, before = self.read(name, rows), rows.start * size
        return read.flatten()[elements.start - before : elements.stop - before] if shape else read

    def _read_rows(self, name: str, rows: range | None) -> Tensor:
        parts = self._parts[name]
        if len(parts) == 1 and rows is None:
            tensor: Tensor = parts[0][1].get_tensor(name)
            return tensor
        pieces = []
        for first, file in parts:
            stored = file.get_slice(name)
            if not stored.get_shape():  # a scalar, the same in each file
                return file.get_tensor(name)  # type: ignore[no-any-return]
            end = first + stored.get_shape()[0]
            low, high = (first, end) if rows is None else (max(first, rows.start), min(end, rows.stop))
            if low < high:
                pieces.append(stored[low - first : high - first])
        if rows is not None and sum(map(len, pieces)) != len(rows):
            raise ValueError(f"rows {rows.start} to {rows.stop} of {name} are incomplete")
        return torch.cat(pieces) if pieces else parts[0][1].get_slice(name)[:0]
