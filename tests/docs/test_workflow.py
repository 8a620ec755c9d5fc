"""The workflow on GitHub runs what continuous integration runs everywhere, with every supported Python."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
JOB = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]["ci"]


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
