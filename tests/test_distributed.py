"""Collective operations in one process, and torchrun; trainings of several: tests/train/distribution/."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

import efface
from efface import distributed
from efface.distributed import DistributedError
from efface.errors import EffaceError


def test_one_process_is_the_main_one_and_does_not_wait(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    distributed.init_process_group("cpu")
    assert (
        distributed.launched_world_size(),
        distributed.world_size(),
        distributed.rank(),
        distributed.is_main_process(),
    ) == (1, 1, 0, True)
    assert distributed.all_gather("mine") == distributed.gather("mine") == ["mine"]
    assert distributed.scatter(("a", "b")) == ["a", "b"]


JOIN = """
import json, sys
from pathlib import Path
from efface import distributed

distributed.init_process_group("cpu")
found = distributed.all_gather([distributed.rank(), distributed.local_rank(), distributed.__file__])
parts = distributed.all_gather(distributed.scatter("abc" if distributed.is_main_process() else None))
gathered = distributed.gather(distributed.rank())
received = distributed.all_gather(gathered)
if distributed.is_main_process():
    Path(sys.argv[1]).write_text(json.dumps([*found, parts, received]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo and torchrun on Windows are not supported")
def test_processes_of_torchrun_connect_import_the_tested_sources_and_end_without_error(tmp_path):
    (tmp_path / "join.py").write_text(JOIN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # the sources that this process has imported may not be the installed ones
    python_path = os.pathsep.join(filter(None, [str(Path(efface.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [*command, str(tmp_path / "join.py"), str(tmp_path / "found.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads((tmp_path / "found.json").read_text()) == [
        [0, 0, distributed.__file__],
        [1, 1, distributed.__file__],
        [["a", "c"], ["b"]],
        [[0, 1], []],
    ]


def test_a_process_that_is_not_connected_is_the_only_one(monkeypatch):
    """A library call in a program of another launcher must not wait for processes that never connect."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (distributed.launched_world_size(), distributed.world_size()) == (4, 1)
    distributed.barrier()


@pytest.mark.parametrize(("device_type", "disconnects"), [("cpu", True), ("cuda", False)])
def test_gloo_is_disconnected_before_python_ends(monkeypatch, tmp_path, device_type, disconnects):
    """Else one of its threads can abort a process that did its work."""
    at_exit = []
    monkeypatch.setattr(distributed, "launched_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "_group", distributed._Group())
    monkeypatch.setattr(distributed, "_set_sigterm_handler", lambda _: None)
    monkeypatch.setattr("atexit.register", at_exit.append)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        distributed.init_process_group(device_type)
        for each in at_exit:
            each()
        assert dist.is_initialized() is not disconnects
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@pytest.mark.parametrize("words", ["[gloo/transport/tcp/pair.cc:547] Connection closed by peer", "NCCL error"])
def test_a_lost_process_is_explained(monkeypatch, words):
    def loses():
        with distributed.explain_lost_peer():
            raise RuntimeError(words)

    with pytest.raises(RuntimeError, match=re.escape(words)):
        loses()  # in the only process it is another error
    monkeypatch.setattr(distributed, "_group", distributed._Group(1, 2))
    with pytest.raises(DistributedError, match=r"process 1 of 2 lost another one, .* --resume"):
        loses()
    assert issubclass(DistributedError, EffaceError)


def test_other_errors_are_not_replaced(monkeypatch):
    monkeypatch.setattr(distributed, "_group", distributed._Group(1, 2))
    with pytest.raises(RuntimeError, match="shapes"), distributed.explain_lost_peer():
        raise RuntimeError("shapes do not match")


def test_a_world_size_without_a_launcher_is_an_error(monkeypatch):
    """As on a cluster that sets WORLD_SIZE for its own reasons."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DistributedError, match=r"^WORLD_SIZE=2 .* cannot connect \(.*RANK.*unset WORLD_SIZE"):
        distributed.init_process_group("cpu")
    assert distributed.world_size() == 1


def test_an_exchange_waits_and_so_does_the_end_of_the_block(monkeypatch):
    import torch.distributed as dist

    waited = []
    monkeypatch.setattr(distributed, "_group", distributed._Group(0, 2))
    monkeypatch.setattr(
        dist, "all_gather_object", lambda values, value, group: values.__setitem__(slice(None), [value] * 2)
    )
    with distributed.waiting_before_exchange(lambda: waited.append(1)):
        assert distributed.all_gather("a") == ["a", "a"]
        assert len(waited) == 1
    assert len(waited) == 2
    distributed.all_gather("b")
    with pytest.raises(ValueError, match="mine"), distributed.waiting_before_exchange(lambda: waited.append(1)):
        raise ValueError("mine")
    assert len(waited) == 2


@pytest.mark.parametrize("value", [False, True])
def test_one_process_knows_what_any_process_says(value):
    assert distributed.any_process(value) is value
