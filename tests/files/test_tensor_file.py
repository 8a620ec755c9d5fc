"""A safetensors file written tensor by tensor, as the library reads it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from efface.files.tensor_file import TensorFile


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_tensors_in_any_order(tmp_path, dtype):
    tensors = {name: torch.randn(shape) for name, shape in {"a": (3, 5), "b.ü": (7,), "empty": (0, 4)}.items()}
    with (tmp_path / "file").open("wb") as opened:
        empty = {name: torch.empty(each.shape, dtype=dtype, device="meta") for name, each in tensors.items()}
        file = TensorFile(opened, empty, {"made_by": "test"})
        for name in reversed(tensors):
            file.write(name, tensors[name])
    with safe_open(tmp_path / "file", framework="pt") as read:
        assert read.metadata() == {"made_by": "test"}
        assert set(read.keys()) == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(read.get_tensor(name), tensor.to(dtype))


def test_tensors_of_several_dtypes_are_aligned(tmp_path):
    """Views, scalars and tensors that share memory, too."""
    shared = torch.randn(4, 6)
    tensors = {
        "codes": torch.arange(5, dtype=torch.uint8),
        "transposed": shared.T,
        "count": torch.tensor(7),
        "step": torch.tensor(2.5),
        "half": shared[1:3].bfloat16(),
        "rows": shared[1:3],
    }
    with (tmp_path / "file").open("wb") as opened:
        file = TensorFile(opened, tensors)
        for name, tensor in tensors.items():
            file.write(name, tensor)
    content = (tmp_path / "file").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    for name, entry in header.items():
        assert entry["data_offsets"][0] % tensors[name].itemsize == 0
    read = load_file(tmp_path / "file")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
