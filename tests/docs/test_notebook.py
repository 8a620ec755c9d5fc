"""The notebook of the examples runs, cell by cell; here with one epoch, which takes seconds."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "forget.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
SHORTER = {
    '"data.forget_authors=1"]': '"data.forget_authors=1", "train.epochs=1", "train.warmup_steps=0"]',
    'preset="demo",': 'preset="demo", train={"epochs": 1}, evaluate={"limit": 3, "max_new_tokens": 4},',
    "max_new_tokens=24": "max_new_tokens=4",
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
    assert scores == ["before", "ME+GD", "before", "IDK+AP"]
    assert sum(" of 8 contain " in line for line in lines) == 3
    assert sum(line.startswith("  after") for line in lines) == 7


def test_outputs_are_stored() -> None:
    """The site shows them."""
    outputs = ["".join("".join(output.get("text", "")) for output in cell.get("outputs", ())) for cell in CELLS]
    assert sum(bool(text) for text in outputs) == len(CODE) - 1
    assert not any("Error" in text or str(Path.home()) in text or tempfile.gettempdir() in text for text in outputs)
