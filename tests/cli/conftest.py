"""A finished run, which several commands use."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from efface.cli import main

MODEL = Path(__file__).parents[1] / "golden" / "model"


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a config and its data; one question is in both sets, with different answers."""
    place = tmp_path_factory.mktemp("cli")
    wrong = {"perturbed_answers": ["In Oslo.", "In Rome."]}
    forget = [{"question": f"Where is {n}?", "answer": f"{n} is in Turku.", **wrong} for n in range(4)]
    retain = [{"question": f"Where is {n}?", "answer": f"{n} is in Bergen.", **wrong} for n in range(3, 8)]
    for name, rows in (("forget", forget), ("retain", retain)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "model": str(MODEL),
        "data": {"forget": "forget.jsonl", "retain": "retain.jsonl"},
        "text": {"format": "plain"},
        "device": "cpu",
        "train": {"epochs": 1, "batch_size": 2},
        "evaluate": {"max_new_tokens": 4, "embedder": "none", "judge": "none"},
    }
    (place / "mine.yaml").write_text(yaml.safe_dump(settings))
    return place


@pytest.fixture(scope="package")
def finished(folder: Path) -> Path:
    """A finished run's folder, beside its data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["efface", "run", "mine.yaml", "method=me+gd", "seed=3", "--out", "out"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return folder / "out"


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder
