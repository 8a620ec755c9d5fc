"""Free memory of GPUs, hosts and containers."""

from __future__ import annotations

import platform
import resource
from types import SimpleNamespace

import psutil
import pytest
import torch

from efface.hardware import memory
from efface.hardware.memory import disk_free, free_memory, keep_freed_memory, trim_freed_memory

CPU = torch.device("cpu")


@pytest.fixture
def container(monkeypatch, tmp_path):
    """A host with 1000 free bytes, and the files of its container."""
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)

    def write(**files):
        for name, content in files.items():
            (tmp_path / f"memory.{name}").write_text(content)

    return write


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 1000),
        ({"max": "max\n", "current": "900\n"}, 1000),
        ({"max": "950\n", "current": "900\n"}, 50),
        ({"max": "5000\n", "current": "900\n"}, 1000),
        # cached files are freed on demand
        ({"max": "950\n", "current": "900\n", "stat": "anon 7\nactive_file 100\ninactive_file 300\n"}, 350),
    ],
    ids=["no container", "no limit", "limit", "limit above the host", "file cache"],
)
def test_the_limit_of_a_container_counts(container, files, free):
    container(**files)
    assert free_memory(CPU) == free


def test_unused_reserved_memory_of_a_gpu_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    assert free_memory(torch.device("cuda")) == 150


def test_the_disk_of_a_folder_that_does_not_exist_yet(tmp_path, monkeypatch):
    paths = []
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda path: (paths.append(path), SimpleNamespace(free=5))[1])
    assert disk_free(tmp_path) == disk_free(tmp_path / "a" / "b") == 5
    assert paths == [tmp_path, tmp_path]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how memory is kept is a setting of glibc")
def test_steps_need_no_new_pages_where_freed_tensors_are_kept():
    def new_pages():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        del [torch.zeros(500_000) for _ in range(20)][:]  # a step of 40 MB: 10,000 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def resident():
        return psutil.Process().memory_info().rss  # not new pages, which may be of 2 MB each

    keep_freed_memory()
    assert min(new_pages() for _ in range(5)) < 500  # the first ones may return what other tests have freed
    kept = resident()
    trim_freed_memory()
    assert kept - resident() > 30e6
