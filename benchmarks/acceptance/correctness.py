"""Part 1: the tests that need a GPU, and small runs of the product from files to scores."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

from acceptance.sizes import Sizes
from acceptance.stages import Measurements, Row
from efface.config.commands import RunConfig
from efface.data import load_training_set
from efface.demo import write_base_model
from efface.run.pipeline import run

ROOT = Path(__file__).parents[2]
_SETTINGS: dict[str, Any] = {
    "data": {"source": "synthetic-authors", "authors": 3, "forget_authors": 1, "retain_evaluation": 3},
    "text": {"format": "plain"},
    "evaluate": {"embedder": "none", "judge": "key-facts", "max_new_tokens": 3, "limit": 3},
}
_TRAIN = {"lr": 1e-3, "epochs": 2, "batch_size": 5, "warmup_steps": 0, "save_steps": 2}
RUNS: dict[str, dict[str, Any]] = {
    "ME+GD": {"method": "me+gd", "train": _TRAIN},
    "DPO+KL with LoRA": {"method": "dpo+kl", "train": {**_TRAIN, "lora": {}}},
}


def gpu_tests(_sizes: Sizes, _device: str) -> Measurements:
    """The tests that are marked `gpu`; without a GPU they are skipped."""
    return {"tests that need a GPU": _run_tests}


def small_runs(_sizes: Sizes, device: str) -> Measurements:
    """Runs of a model of a million weights."""
    return {f"run of {name}": partial(_run, settings, device) for name, settings in RUNS.items()}


def gpu_test_files() -> list[Path]:
    """Test files with tests that need a GPU. Others may import what is not installed here."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path for path in paths if "@pytest.mark.gpu" in path.read_text(encoding="utf-8")]


def _run_tests() -> Row:
    with TemporaryDirectory(prefix="efface-") as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}"]
        execute([*command, *map(str, gpu_test_files())])
        return counts(report)


def execute(command: Sequence[str]) -> None:
    """Run a command that imports efface, whether it is installed or not; its exit code does not matter."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False)


def counts(report: Path) -> Row:
    """How many tests ran, failed or were skipped, of pytest's report.

    Raises:
        RuntimeError: There is none.
    """
    if not report.is_file():
        raise RuntimeError("pytest stopped before it wrote its report; see its messages above")
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return {"tests": total, "failed_tests": failures + errors, "skipped_tests": skipped}


def _run(settings: dict[str, Any], device: str) -> Row:
    with TemporaryDirectory(prefix="efface-") as name:
        folder = Path(name)
        config = RunConfig.model_validate({**_SETTINGS, **settings, "model": str(folder / "base"), "device": device})
        write_base_model(folder / "base", load_training_set(config.data, data_dir=None), seed=0)
        results = run(config, folder / "run")
    scores = {"before": results.before.sets["forget"], "after": results.after.sets["forget"]}
    row: Row = {f"probability_{when}": each.probability for when, each in scores.items()}
    return {**row, "finite": all(value is not None and math.isfinite(value) for value in row.values())}
