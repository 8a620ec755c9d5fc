"""The requirements with hashes: they are those of constraints.txt, divided, and pip accepts their form."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"
ONE = """six[fast]==1.0 ; sys_platform == 'linux' \\
    --hash=sha256:aa
"""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "hash_pins.py"))


def test_versions_are_those_of_the_constraints(script: dict[str, Any]) -> None:
    pins: dict[str, str] = {}
    for path in FOLDER.glob("*.txt"):
        pins |= script["read_pins"](path.read_text())
    constraints = script["read_pins"]((ROOT / "constraints.txt").read_text())
    assert {name: pins.get(name) for name in constraints} == constraints
    assert all(re.match("nvidia-|cuda-|triton", name) for name in pins.keys() - constraints.keys())


def test_every_requirement_has_hashes() -> None:
    for path in FOLDER.glob("*.txt"):
        text = path.read_text().replace("\\\n", " ")
        for line in (line for line in text.splitlines() if not line.startswith("#")):
            assert re.search(r"==\S+.*--hash=sha256:[0-9a-f]{64}", line), f"{path}: {line}"


def test_torch_may_be_a_build_for_the_cpu(script: dict[str, Any]) -> None:
    blocks = script["read_blocks"]((FOLDER / "runtime.txt").read_text())
    for line in (FOLDER / "torch-cpu.sha256").read_text().splitlines():
        assert f"--hash=sha256:{line.split()[0]} \\\n" in blocks["torch"]
    added = script["with_cpu_builds"](
        "torch==2.0 \\\n    --hash=sha256:bb\n", "cc  torch-2.0+cpu-cp311.whl\ndd  torch-1.0"
    )
    assert added == "torch==2.0 \\\n    --hash=sha256:cc \\\n    --hash=sha256:bb\n"
    with pytest.raises(SystemExit, match=r"torch 3\.0"):
        script["with_cpu_builds"]("torch==3.0 \\\n    --hash=sha256:bb\n", "cc  torch-2.0+cpu-cp311.whl")


def test_a_package_with_an_extra_is_also_listed_without(script: dict[str, Any]) -> None:
    assert script["read_blocks"](f"# by hand\n{ONE}") == {"six": ONE.replace("[fast]", "") + ONE}


def test_each_package_is_in_the_file_that_needs_it(script: dict[str, Any]) -> None:
    names = ("torch", "triton", "nvidia-nccl-cu13", "packaging", "hatchling", "pytest")
    files = script["divide"](
        {name: f"{name}==1\n" for name in names}, ["torch", "triton", "packaging"], ["packaging", "hatchling"]
    )
    found = {file: list(script["read_pins"](text)) for file, text in files.items()}
    assert found == {
        "runtime.txt": ["packaging", "torch"],
        "build.txt": ["hatchling", "packaging"],
        "development.txt": ["pytest", "triton"],
        "cuda.txt": ["nvidia-nccl-cu13", "triton"],
    }
