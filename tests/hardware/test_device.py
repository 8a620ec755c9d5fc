"""The device of a run, and copies to it."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from efface import distributed
from efface.errors import EffaceError
from efface.hardware import device as module
from efface.hardware.device import copy_to_device, device_for, peak_memory, reset_peak_memory


@pytest.fixture
def cuda(monkeypatch):
    """Let torch see this many GPUs, and let nothing be connected."""

    def gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(distributed, "init_process_group", lambda _: None)

    return gpus


@pytest.fixture
def rank(monkeypatch, cuda):
    """Be this process of four on a machine with two GPUs."""

    def local(number):
        cuda(2)
        monkeypatch.setattr(distributed, "_group", distributed._Group(1, 4))
        monkeypatch.setenv("WORLD_SIZE", "4")
        monkeypatch.setenv("LOCAL_RANK", str(number))

    return local


@pytest.mark.parametrize(
    ("gpus", "choice", "device"),
    [(0, "auto", "cpu"), (0, "cpu", "cpu"), (1, "auto", "cuda"), (1, "cuda", "cuda"), (1, "cpu", "cpu")],
)
def test_auto_is_cuda_if_there_is_a_gpu(cuda, gpus, choice, device):
    cuda(gpus)
    assert device_for(choice) == torch.device(device)


def test_each_process_has_its_own_gpu(rank):
    rank(1)
    assert device_for("auto") == torch.device("cuda", 1)
    rank(2)
    assert device_for("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("choice", "local_rank", "named"),
    [
        ("cuda", None, ["device=cuda", "no CUDA device", "device=cpu or auto"]),
        ("auto", 2, ["process 2", "only 2", "device=cpu"]),
    ],
    ids=["no GPU", "too few GPUs"],
)
def test_a_missing_gpu_is_named_with_a_remedy(cuda, rank, choice, local_rank, named):
    cuda(0) if local_rank is None else rank(local_rank)
    with pytest.raises(EffaceError) as error:
        device_for(choice)
    assert all(words in str(error.value) for words in named)


@pytest.mark.parametrize(("choice", "backend"), [("cpu", "cpu"), ("auto", "cuda")])
def test_threads_are_limited_and_processes_connected(cuda, monkeypatch, choice, backend):
    cuda(1)
    calls = []
    monkeypatch.setattr(module, "limit_threads", lambda: calls.append("threads"))
    monkeypatch.setattr(distributed, "init_process_group", calls.append)
    device_for(choice)
    assert calls == ["threads", backend]


def test_a_copy_on_the_cpu_is_the_tensor_itself():
    tensor = torch.arange(3)
    assert copy_to_device(tensor, "cpu") is tensor
    assert copy_to_device(tensor, torch.device("meta")).device.type == "meta"


def test_a_copy_to_a_gpu_is_pinned_and_does_not_wait(monkeypatch):
    calls = []

    class Pinned:
        def to(self, device, *, non_blocking):
            calls.append((device, non_blocking))
            return "copied"

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda _: Pinned())
    assert copy_to_device(torch.arange(3), "cuda:1") == "copied"
    assert calls == [("cuda:1", True)]


def test_peak_memory_is_that_of_a_gpu(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", calls.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 17)
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 1)
    for device in (cpu, gpu):
        reset_peak_memory(device)
    assert calls == [gpu]
    assert (peak_memory(cpu), peak_memory(gpu)) == (None, 17)


@pytest.mark.skipif(sys.platform != "linux", reason="torch has expandable segments on Linux alone")
def test_the_allocator_of_a_gpu_grows_unless_the_user_has_set_it_up(cuda, monkeypatch):
    cuda(0)
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "")
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    device_for("cpu")
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == ""
    device_for("auto")
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
    for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "")
        monkeypatch.setenv(name, "max_split_size_mb:512")
        device_for("auto")
        assert "expandable" not in os.environ["PYTORCH_CUDA_ALLOC_CONF"]
