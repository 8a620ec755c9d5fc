"""The workflows on GitHub run what CI runs everywhere, with every supported Python, and each night what is longer."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def job(name: str) -> dict[str, Any]:
    path = ROOT / ".github" / "workflows" / f"{name}.yml"
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"][name]
    return found


JOB = job("ci")


def test_it_runs_the_checks_with_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = [
        name.rpartition(" ")[2]
        for name in project["classifiers"]
        if name.startswith("Programming Language :: Python :: 3.")
    ]
    assert JOB["strategy"]["matrix"]["python"] == supported
    assert JOB["steps"][-1]["run"] == "PYTHON=python .ci/run"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_it_says_that_the_shared_folder_is_not_there() -> None:
    """Without it, the tests that read the folder fail where CI is set: tests/conftest.py."""
    assert JOB["env"]["EFFACE_SHARED"] == ""


def test_every_night_runs_targets_that_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    nightly = job("nightly")
    assert {"torture", "audit-self-test"} <= set(nightly["strategy"]["matrix"]["target"]) <= set(targets)
    assert nightly["steps"][-1]["run"] == "make ${{ matrix.target }}"
