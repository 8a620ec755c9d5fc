"""What a sweep told and left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from efface.artifacts import Results
from efface.sweep.spec import SweepSpec
from support.runs import Told

Spec = Callable[..., SweepSpec]
"""Reads a spec: its content, then key=value pairs."""


class DyingIn(Told):
    """Dies in a step of a run, as the process would."""

    def __init__(self, run: str, step: int) -> None:
        super().__init__()
        self.run, self.at = run, step

    def on_step(self, log: Any) -> None:
        here = [text for text in self.stages if text.startswith(("run ", "making ", "request "))]
        if here and self.run in here[-1] and log.step == self.at:
            raise KeyboardInterrupt


def made(told: Told) -> list[str]:
    """The runs that were made."""
    return [text.partition(": ")[2] for text in told.stages if text.startswith("run ")]


def trained(told: Told) -> int:
    """How often a model was trained."""
    return sum(text.startswith(("unlearning with", "fine-tuning on")) for text in told.stages)


def lines(out: Path) -> list[dict[str, Any]]:
    """Those of runs.jsonl."""
    return [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


def results(folder: Path) -> Results:
    """Those of a run."""
    return Results.model_validate_json((folder / "results.json").read_bytes())
