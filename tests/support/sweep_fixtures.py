"""Fixtures of tests that run sweeps of a tiny model. Imported by the conftest.py of several folders."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from efface.sweep.spec import SweepSpec, read_spec
from efface.sweep.sweep import SweepResult, sweep
from support.built_once import BuildOnce
from support.runs import Told

GOLDEN = Path(__file__).parents[1] / "golden" / "model"


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> Iterator[None]:
    """More threads slow the tiny models down and change their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def base(build_once: BuildOnce) -> Path:
    """The model of the golden numbers in float32, with its tokenizer; not to be changed."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def save(folder: Path) -> None:
        AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).save_pretrained(folder)
        AutoTokenizer.from_pretrained(GOLDEN).save_pretrained(folder)

    return build_once("sweep-base", save)


@pytest.fixture(scope="session")
def settings(base: Path) -> dict[str, Any]:
    """A run of two steps that scores few questions."""
    return {
        "method": "me+gd",
        "model": str(base),
        "data": {"source": "synthetic-authors", "authors": 2, "forget_authors": 1, "retain_evaluation": 2},
        "text": {"format": "plain"},
        "train": {"lr": 1e-3, "epochs": 1, "batch_size": 10, "warmup_steps": 0, "save_steps": 1},
        "evaluate": {"embedder": "none", "judge": "key-facts", "max_new_tokens": 3, "limit": 2},
        "device": "cpu",
    }


@pytest.fixture(scope="session")
def content(settings: dict[str, Any]) -> dict[str, Any]:
    """A spec with a target, two methods with two seeds each, and both baselines."""
    shared = {key: value for key, value in settings.items() if key not in ("model", "method")}
    target = {key: settings[key] for key in ("model", "data", "text", "train", "device")}
    return {
        "target": target,
        "settings": shared,
        "grid": {"method": ["me+gd", "ga+gd"], "seed": [0, 1]},
        "baselines": ["retrained", "random"],
    }


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., SweepSpec]:
    """Read a spec with this content, and key=value pairs."""

    def read(content: dict[str, Any], *pairs: str) -> SweepSpec:
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return read_spec(path, pairs)

    return read


@pytest.fixture(scope="session")
def complete(content: dict[str, Any], build_once: BuildOnce) -> tuple[Path, SweepResult, Told]:
    """The folder of a complete sweep of `content`, its result and its reporter; not to be changed."""

    def make(folder: Path) -> None:
        reporter = Told()
        result = sweep(SweepSpec.model_validate(content), folder / "sweep", reporter=reporter)
        (folder / "result.pickle").write_bytes(pickle.dumps((result, reporter)))

    folder = build_once("complete-sweep", make)
    return folder / "sweep", *pickle.loads((folder / "result.pickle").read_bytes())


@pytest.fixture
def copied(complete: tuple[Path, SweepResult, Told], tmp_path: Path) -> Path:
    """A copy of the complete sweep in another folder."""
    return shutil.copytree(complete[0], tmp_path / "copied")
