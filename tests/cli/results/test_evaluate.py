"""`efface evaluate`: a model alone, and compared with the records of a run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.usefixtures("here")
def test_evaluate_compares_with_the_model_before(efface: Command, finished: Path) -> None:
    out = finished
    arguments = ["evaluate", "mine.yaml", f"model={out / 'model'}", "evaluate.limit=2", "definition=paper"]
    for place in (out, out / "records", out / "records" / "before"):
        ran = efface(*arguments, "--before", str(place), "--out", f"compared-{place.name}")
        assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(Path("compared-out/scores.json").read_text())["definition"] == "paper"
    again = efface(*arguments, "--before", "compared-out", "--out", "compared-again")  # of an evaluation
    assert again.returncode == 0


@pytest.fixture
def unscored(here: Path) -> Path:
    """The folder that `efface unlearn` leaves: without records."""
    folder = here / "unscored"
    folder.mkdir(exist_ok=True)
    for name in ("manifest.json", "metrics.jsonl"):
        (folder / name).write_text("{}\n")
    return folder


@pytest.mark.usefixtures("finished", "unscored")
@pytest.mark.parametrize("place", ["nowhere", "out/model", "unscored"])
def test_before_without_records_is_refused(efface: Command, place: str) -> None:
    ran = efface("evaluate", "mine.yaml", "--before", place, "--out", "refused")
    assert ran.returncode == 2
    assert_names(ran.stderr, place)
    assert not Path("refused").exists()
