"""A safetensors file written tensor by tensor, as the library reads it."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from efface.tensor_file import TensorFile, tensor_bytes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_tensors_in_any_order(tmp_path, dtype):
    tensors = {name: torch.randn(shape) for name, shape in {"a": (3, 5), "b.ü": (7,), "empty": (0, 4)}.items()}
    with (tmp_path / "file").open("wb") as opened:
        file = TensorFile(opened, {name: each.shape for name, each in tensors.items()}, dtype, {"made_by": "test"})
        for name in reversed(tensors):
            file.write(name, tensors[name])
    with safe_open(tmp_path / "file", framework="pt") as read:
        assert read.metadata() == {"made_by": "test"}
        assert set(read.keys()) == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(read.get_tensor(name), tensor.to(dtype))


def test_bytes():
    assert tensor_bytes((3, 5), torch.bfloat16) == 30
    assert tensor_bytes((), torch.float32) == 4
