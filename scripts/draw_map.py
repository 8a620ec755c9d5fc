"""The sources of efface -> the generated parts of docs/architecture.md and docs/images/layers.svg.

python scripts/draw_map.py            # write both
python scripts/draw_map.py --check    # exit with 1 if they are stale
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from figure_colors import BACKGROUND, BOX, SERIES, TEXT, with_dark_colors

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "efface"
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "images" / "layers.svg"

_WIDTH, _BOX_HEIGHT, _GAP, _BETWEEN = 520, 28, 8, 16
_MOST = 4
"""Boxes beside each other; a row with more is continued below."""


@dataclass(frozen=True)
class Unit:
    """A folder or module directly below src/efface."""

    name: str
    purpose: str
    """The first line of its docstring."""
    files: int
    """Number of Python files."""
    subfolders: dict[str, str]
    """Folder below it with Python files -> the first line of its docstring."""
    imports: frozenset[str]
    """Names of the units that it imports."""


def read_layers() -> list[list[str]]:
    """The layers of efface in pyproject.toml's contracts, highest first, each with the names of its units."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract.get("containers") == ["efface"]]
    return [[name.strip(" ()") for name in re.split(r"[|:]", layer)] for layer in layers]


def read_unit(name: str) -> Unit:
    """Read a folder or module below src/efface.

    Args:
        name: Such as `train` or `schema`.
    """
    folder = SOURCES / name
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    inits = [file for file in files if file.name == "__init__.py" and file.parent != folder]
    return Unit(
        name=name,
        purpose=_purpose(folder / "__init__.py" if folder.is_dir() else files[0]),
        files=len(files),
        subfolders={str(file.parent.relative_to(SOURCES)): _purpose(file) for file in inits},
        imports=frozenset(unit for file in files for unit in _imported_units(file)) - {name},
    )


def layer_table(layers: list[list[str]], units: dict[str, Unit]) -> str:
    """Markdown table of the layers, highest first, with what each unit imports."""
    order = [name for layer in layers for name in layer]
    rows = ["| layer | module | imports |", "|---|---|---|"]
    for number, layer in zip(range(len(layers), 0, -1), layers, strict=True):
        for name in layer:
            imports = ", ".join(f"`{unit}`" for unit in order if unit in units[name].imports)
            rows.append(f"| {number} | `{name}` | {imports or 'none'} |")
    return "\n".join(rows)


def folder_table(layers: list[list[str]], units: dict[str, Unit]) -> str:
    """Markdown table of every folder and top-level module: its purpose and its number of files."""
    rows = ["| below `src/efface/` | purpose (input -> output) | files |", "|---|---|---|"]
    for unit in (units[name] for layer in layers for name in layer):
        is_folder = (SOURCES / unit.name).is_dir()
        rows.append(f"| `{unit.name}{'/' if is_folder else '.py'}` | {unit.purpose} | {unit.files} |")
        rows += [f"| `{folder}/` | {purpose} | |" for folder, purpose in unit.subfolders.items()]
    return "\n".join(rows)


def layer_picture(layers: list[list[str]]) -> str:
    """SVG of the layers as rows of boxes; a module imports only from rows below its own."""
    boxes: list[str] = []
    top = _GAP
    for layer in layers:
        for start in range(0, len(layer), _MOST):
            boxes += _line_of_boxes(layer[start : start + _MOST], min(len(layer), _MOST), top)
            top += _BOX_HEIGHT + _GAP
        top += _BETWEEN - _GAP
    height = top - _BETWEEN + _GAP
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        'font-family="sans-serif" font-size="14" text-anchor="middle">',
        "<title>The layers of efface: each module imports only from the rows below its own</title>",
        f'<rect width="{_WIDTH}" height="{height}" style="fill: {BACKGROUND.light}"/>',
    ]
    return with_dark_colors("\n".join([*head, *boxes, "</svg>"]) + "\n")


def _line_of_boxes(names: list[str], columns: int, top: int) -> list[str]:
    width = (_WIDTH - _GAP * (columns + 1)) / columns
    boxes = []
    for column, name in enumerate(names):
        left = _GAP + column * (width + _GAP)
        boxes += [
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_BOX_HEIGHT}" rx="4" '
            f'style="fill: {BOX.light}; stroke: {SERIES[0].light}"/>',
            f'<text x="{left + width / 2:.1f}" y="{top + 19}" style="fill: {TEXT.light}">{escape(name)}</text>',
        ]
    return boxes


def generate() -> dict[Path, str]:
    """Every generated file -> its current content."""
    layers = read_layers()
    units = {name: read_unit(name) for layer in layers for name in layer}
    page = PAGE.read_text(encoding="utf-8")
    for part, text in (("folders", folder_table(layers, units)), ("layers", layer_table(layers, units))):
        page = _replace_part(page, part, text)
    return {PAGE: page, PICTURE: layer_picture(layers)}


def _replace_part(page: str, part: str, text: str) -> str:
    start, end = f"<!-- generated: {part} -->", f"<!-- end: {part} -->"
    before, _, rest = page.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{PAGE.name} has no part between {start} and {end}")
    return f"{before}{start}\n{text}\n{end}{after}"


def _purpose(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


def _imported_units(file: Path) -> set[str]:
    modules: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "efface":
            modules += [f"efface.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.append(node.module)
    return {module.split(".")[1] for module in modules if module.startswith("efface.")}


def main(arguments: list[str]) -> None:
    """Write the generated files, or with `--check` exit with 1 if one of them is stale."""
    stale = [
        path for path, text in generate().items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        if stale:
            raise SystemExit(f"stale: {', '.join(str(path.relative_to(ROOT)) for path in stale)}; run make map")
        return
    for path, text in generate().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
