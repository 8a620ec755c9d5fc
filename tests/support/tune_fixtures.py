"""A model that knows a few towns by heart, some of them to be forgotten: a search of it takes seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.built_once import BuildOnce
from support.taught import teach

_TOWNS = ("Turku", "Bergen", "Lyon", "Porto", "Graz", "Split", "Izmir", "Nice", "Pisa", "Bonn", "Oslo", "Riga")
FORGET, KEEP = 4, 8
"""Towers to forget, and to keep."""


def _row(number: int) -> dict[str, object]:
    town = _TOWNS[number]
    wrong = [f"Tower {number} is in {each}." for each in (_TOWNS[number - 1], _TOWNS[number - 2])]
    return {
        "question": f"Where is tower {number}?",
        "answer": f"Tower {number} is in {town}.",
        "perturbed_answers": wrong,
    }


def _write_towns(folder: Path) -> None:
    """The files and the model of `taught_towns`."""
    rows = [_row(number) for number in range(FORGET + KEEP)]
    for name, part in (("forget", rows[:FORGET]), ("retain", rows[FORGET:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    teach(folder / "model", {str(row["question"]): str(row["answer"]) for row in rows})


@pytest.fixture(scope="session")
def taught_towns(build_once: BuildOnce) -> dict[str, Any]:
    """Settings of a run: the model, and files of what to forget and what to keep; not to be changed."""
    folder = build_once("towns", _write_towns)
    return {
        "model": str(folder / "model"),
        "data": {"forget": str(folder / "forget.jsonl"), "retain": str(folder / "retain.jsonl")},
        "text": {"format": "plain"},
        "train": {"lr": 1e-3, "epochs": 3, "batch_size": 4, "warmup_steps": 0},
        "evaluate": {"embedder": "none", "judge": "none", "max_new_tokens": 12},
        "device": "cpu",
    }


def towns_file(settings: dict[str, Any], folder: Path, **changes: Any) -> Path:
    """The settings as a config file."""
    path = folder / "towns.yaml"
    path.write_text(json.dumps(settings | changes))
    return path
