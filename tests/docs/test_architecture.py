"""docs/architecture.md says what the sources say."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "draw_map.py"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATTERNS = {"src/efface/x/y.py", "tests/x/test_y.py"}
STEPS = re.findall(r"^\| \d+ \| `([\w/]+\.py)` \| `([\w.]+)` \|", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def drawing() -> dict[str, Any]:
    """Names of the script; its `Unit` is a class of a module that is not imported."""
    return runpy.run_path(str(SCRIPT), run_name="draw_map")


def test_generated_parts_are_current() -> None:
    ran = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_every_folder_and_module_has_a_layer_and_a_purpose(drawing: dict[str, Any]) -> None:
    named = {name for layer in drawing["read_layers"]() for name in layer}
    folders = {path.parent.name for path in (ROOT / "src" / "efface").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "src" / "efface").glob("*.py")} - {"__init__"}
    assert named == folders | modules
    for name in sorted(named):
        unit = drawing["read_unit"](name)
        assert unit.purpose.endswith("."), name
        assert all(purpose.endswith(".") for purpose in unit.subfolders.values()), name


def test_imports_are_read_from_the_sources(drawing: dict[str, Any]) -> None:
    assert drawing["read_unit"]("schema").imports == {"artifacts", "frozen"}
    assert {"train", "evaluation", "scores"} <= drawing["read_unit"]("run").imports
    assert "efface" not in drawing["read_unit"]("cli").imports


def test_each_layer_imports_only_from_below(drawing: dict[str, Any]) -> None:
    layers = drawing["read_layers"]()
    depth = {name: row for row, layer in enumerate(layers) for name in layer}
    for name, row in depth.items():
        for imported in drawing["read_unit"](name).imports & depth.keys():
            assert depth[imported] >= row, f"{name} imports {imported}"


@pytest.mark.parametrize(("file", "function"), STEPS, ids=[file for file, _ in STEPS])
def test_steps_name_functions_that_exist(file: str, function: str) -> None:
    body = ast.parse((ROOT / "src" / "efface" / file).read_text(encoding="utf-8")).body
    *classes, name = function.split(".")
    for class_name in classes:
        (body,) = [node.body for node in body if isinstance(node, ast.ClassDef) and node.name == class_name]
    assert name in {node.name for node in body if isinstance(node, ast.FunctionDef)}


def test_the_page_has_all_steps() -> None:
    assert len(STEPS) >= 8


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE)) - PATTERNS))
def test_named_files_exist(path: str) -> None:
    assert (ROOT / "src" / "efface" / path).is_file() or (ROOT / path).is_file()
