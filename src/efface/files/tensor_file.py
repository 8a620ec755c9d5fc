"""A safetensors file that is written tensor by tensor: the library's own writer needs all of them at once."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import torch

_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64", "uint8": "U8", "int64": "I64"}
"""torch's name of a dtype -> that of safetensors."""


class TensorFile:
    """Writes tensors of known shapes, in any order, each into its place in the file."""

    def __init__(
        self, file: BinaryIO, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write the header.

        Args:
            file: Open for writing; stays open.
            tensors: Name -> a tensor of the shape and dtype to write, such as one on the meta device; its
                values are not read.
            metadata: Texts to store in the header.
        """
        self._file = file
        header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
        self._places: dict[str, tuple[int, torch.dtype]] = {}
        end = 0
        for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].itemsize):  # so that each is aligned
            start, end = end, end + tensor.nbytes
            self._places[name] = start, tensor.dtype
            header[name] = {
                "dtype": _DTYPES[str(tensor.dtype).removeprefix("torch.")],
                "shape": list(tensor.shape),
                "data_offsets": [start, end],
            }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8 bytes
        self._start = 8 + len(text)
        file.write(struct.pack("<Q", len(text)) + text)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Write one tensor, of the shape given for it; it is converted to the dtype given for it."""
        import torch

        start, dtype = self._places[name]
        self._file.seek(self._start + start)
        self._file.write(tensor.detach().to("cpu", dtype).reshape(-1).view(torch.uint8).numpy().data)
