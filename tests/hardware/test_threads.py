"""The threads of torch and the CPU quota of a container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from efface.hardware.threads import cpu_quota, limit_threads, threads_within


def system(root: Path, groups: str, **files: str) -> Path:
    """A root folder with this /proc/self/cgroup and these files under /sys/fs/cgroup."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(groups)
    for name, content in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture(autouse=True)
def restored_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a.slice/b.scope\n", {"a.slice/cpu.max": "150000 100000", "a.slice/b.scope/cpu.max": "max 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "400000 100000"}, 1.0),
        # /proc shows the path on the host
        ("0::/docker/1f\n", {"cpu.max": "300000 100000"}, 3.0),
        (
            "4:memory:/x\n3:cpu,cpuacct:/y\n1:name=systemd:/\n0::/\n",
            {"cpu,cpuacct/y/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/y/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("0::/\n", {"cpu.max": "garbage"}, None),
        ("0::/\n", {"cpu.max": "0 100000"}, None),
    ],
)
def test_quota_in_cores(tmp_path: Path, groups: str, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(system(tmp_path, groups, **files)) == quota


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "cores", "threads"), [(2.5, 8, 2), (0.5, 8, 1), (16.0, 8, 8), (7.99, 96, 7)])
def test_threads_are_whole_cores_and_at_least_one(quota: float, cores: int, threads: int) -> None:
    assert threads_within(quota, cores) == threads


def test_torch_uses_at_most_the_quota(tmp_path: Path) -> None:
    torch.set_num_threads(4)
    assert limit_threads(system(tmp_path, "0::/\n", **{"cpu.max": "300000 100000"})) == torch.get_num_threads() == 3


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_choice_of_the_user_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    torch.set_num_threads(4)
    monkeypatch.setenv(name, "4")
    assert limit_threads(system(tmp_path, "0::/\n", **{"cpu.max": "100000 100000"})) == 4


def test_without_a_quota_nothing_changes(tmp_path: Path) -> None:
    torch.set_num_threads(3)
    assert limit_threads(tmp_path) == 3
