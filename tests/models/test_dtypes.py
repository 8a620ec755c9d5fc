"""The dtypes in which models are stored and evaluated."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import LlamaConfig

from efface.models.dtypes import dtype_name, evaluation_dtype, evaluation_dtype_of, stored_dtype

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("precision", "stored", "on_cpu", "on_cuda"),
    [
        ("auto", torch.bfloat16, torch.float32, torch.bfloat16),
        ("auto", torch.float16, torch.float32, torch.float16),
        ("auto", None, torch.float32, torch.float32),
        ("float32", torch.bfloat16, torch.float32, torch.float32),
        ("bf16", torch.float32, torch.bfloat16, torch.bfloat16),
    ],
)
def test_evaluation_dtype(precision, stored, on_cpu, on_cuda):
    model_config = LlamaConfig(dtype=stored)
    assert evaluation_dtype_of(model_config, CPU, precision) == on_cpu
    assert evaluation_dtype_of(model_config, CUDA, precision) == on_cuda


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])  # the second is the name in older models
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stored_dtype_is_read_from_the_folder(source, tmp_path, key, dtype):
    folder = shutil.copytree(source, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    del config["dtype"]
    (folder / "config.json").write_text(json.dumps(config | {key: dtype_name(dtype)}))
    assert stored_dtype(folder) == dtype
    assert evaluation_dtype(folder, CUDA) == dtype
    assert evaluation_dtype(folder, CPU) == torch.float32


def test_dtype_name():
    assert dtype_name(torch.bfloat16) == "bfloat16"
