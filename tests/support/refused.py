"""A working directory with settings and data that are valid, and commands that must be refused in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

FORGET = [{"question": f"Where was author {n} born?", "answer": f"Author {n} was born in Turku."} for n in range(4)]
RETAIN = [{"question": f"What did writer {n} write?", "answer": f"Writer {n} wrote poems."} for n in range(4)]


@pytest.fixture(scope="session")
def model() -> Path:
    """A small model with a tokenizer."""
    return Path(__file__).parents[1] / "golden" / "model"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> Path:
    """A working directory with `mine.yaml` and its data, valid unless a test changes them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where benchmarks are downloaded to
    for name, rows in (("forget", FORGET), ("retain", RETAIN)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "method": "me+gd",
        "model": str(model),
        "data": {"forget": "forget.jsonl", "retain": "retain.jsonl"},
        "text": {"format": "plain"},
        "device": "cpu",
        "train": {"epochs": 1, "batch_size": 2},
        "evaluate": {"max_new_tokens": 4, "embedder": "none", "judge": "none"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


@pytest.fixture
def refused(efface: Callable[..., subprocess.CompletedProcess[str]], place: Path) -> Callable[..., str]:
    """Run a command that must be refused without writing anything; return its one sentence."""

    def refuse(*arguments: str) -> str:
        before = sorted(place.rglob("*"))
        ran = efface(*arguments)
        assert ran.returncode == 2, ran
        assert ran.stderr.startswith("efface: ")
        assert ran.stderr.count("\n") == 1, ran.stderr
        assert sorted(place.rglob("*")) == before, "something was written"
        return ran.stderr.removeprefix("efface: ").strip()

    return refuse


@pytest.fixture
def run_refused(refused: Callable[..., str]) -> Callable[..., str]:
    """The same for `efface run mine.yaml` with the given pairs; `--dry-run` must print the same sentence."""

    def refuse(*pairs: str) -> str:
        arguments = ("run", "mine.yaml", *pairs, "--out", "out")
        sentence = refused(*arguments)
        assert refused(*arguments, "--dry-run") == sentence
        return sentence

    return refuse
