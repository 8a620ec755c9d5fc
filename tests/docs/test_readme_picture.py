"""scripts/readme_picture.py draws the scores and answers of any run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from support.reports import write_example_run

pytest.importorskip("matplotlib")
SCRIPT = Path(__file__).parents[2] / "scripts" / "readme_picture.py"


def test_the_numbers_and_answers_are_those_of_the_run(tmp_path: Path) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    run, out = write_example_run(tmp_path / "run"), tmp_path / "run.svg"
    main(run, out)
    drawn = out.read_text()
    for text in ("Before and after ME+GD", "should stay", "before: Author 2 was born in Town 2."):
        assert text in drawn
    main(run, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == out.read_bytes()
