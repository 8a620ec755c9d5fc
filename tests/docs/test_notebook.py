"""The notebook of the examples runs, cell by cell; here with one epoch, which takes seconds."""

from __future__ import annotations

import ast
import json
import tempfile
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "forget.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
SHORTER = {
    '"epochs": 30, "batch_size": 8': '"epochs": 1, "batch_size": 20',
    '"epochs": 20, "batch_size": 2': '"epochs": 1, "batch_size": 6',
    '"max_new_tokens": 24': '"max_new_tokens": 2, "limit": 4',
    "max_new_tokens=16": "max_new_tokens=2",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_cells_run_in_their_order(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "\n".join(CODE)
    for long, short in SHORTER.items():
        assert long in code
        code = code.replace(long, short)
    exec(compile(code, NOTEBOOK.name, "exec"), {"__name__": "__main__"})
    lines = capsys.readouterr().out.splitlines()
    scores = [line.split()[0] for line in lines if "model utility" in line]
    assert scores == ["before", "me+gd", "before", "idk+ap"]
    assert sum(" of 8 contain " in line for line in lines) == 3
    assert sum(line.startswith("  after") for line in lines) == 7


def test_outputs_are_stored() -> None:
    """The site shows them."""
    outputs = ["".join("".join(output.get("text", "")) for output in cell.get("outputs", ())) for cell in CELLS]
    assert sum(bool(text) for text in outputs) == len(CODE) - 1
    assert not any("Error" in text or str(Path.home()) in text or tempfile.gettempdir() in text for text in outputs)


def test_it_uses_the_public_interface_alone() -> None:
    imports = [node for node in ast.walk(ast.parse("\n".join(CODE))) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]
    assert [name for name in names if name.partition(".")[0] == "efface"] == ["efface"]
