"""A safetensors file that is written tensor by tensor: the library's own writer needs all of them in memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import torch

_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}


class TensorFile:
    """Writes tensors of known shapes, in any order, each into its place in the file."""

    def __init__(
        self, file: BinaryIO, shapes: Mapping[str, Sequence[int]], dtype: torch.dtype, metadata: Mapping[str, str]
    ) -> None:
        """Write the header.

        Args:
            file: Open for writing; stays open.
            shapes: Name of each tensor -> its shape.
            dtype: Of all tensors.
            metadata: Texts to store in the header.
        """
        self._file, self._dtype = file, dtype
        header: dict[str, object] = {"__metadata__": dict(metadata)}
        self._starts: dict[str, int] = {}
        end = 0
        for name, shape in shapes.items():
            self._starts[name], end = end, end + tensor_bytes(shape, dtype)
            header[name] = {
                "dtype": _DTYPES[str(dtype).removeprefix("torch.")],
                "shape": list(shape),
                "data_offsets": [self._starts[name], end],
            }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8 bytes
        self._start = 8 + len(text)
        file.write(struct.pack("<Q", len(text)) + text)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Write one tensor, of the shape given for it."""
        import torch

        self._file.seek(self._start + self._starts[name])
        self._file.write(tensor.detach().to("cpu", self._dtype).contiguous().view(torch.uint8).numpy().data)


def tensor_bytes(shape: Sequence[int], dtype: torch.dtype) -> int:
    """The bytes of a tensor."""
    count = dtype.itemsize
    for size in shape:
        count *= size
    return count
