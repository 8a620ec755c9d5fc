"""A tiny model, and a sweep that is complete: a target, two methods in two seeds, and what to compare with."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from efface.sweep.spec import SweepSpec, read_spec
from efface.sweep.sweep import SweepResult, sweep
from support.runs import Told

GOLDEN = Path(__file__).parents[1] / "golden" / "model"


@pytest.fixture(scope="session", autouse=True)
def quick() -> Iterator[None]:
    """The tiny models here are slower with more, and their last digits depend on it."""
    import accelerate.tracking  # noqa: F401 - what the first run would import
    import peft  # noqa: F401

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()  # each run collects, and would go through all that is imported, too
    yield
    gc.unfreeze()
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden numbers' tiny Llama in float32, with its tokenizer; not to be changed."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("models") / "base"
    AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(GOLDEN).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def settings(base: Path) -> dict[str, Any]:
    """Of a run of two steps, few questions of it scored."""
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
    """The spec of the complete sweep."""
    shared = {key: value for key, value in settings.items() if key not in ("model", "method")}
    learned = {key: settings[key] for key in ("model", "data", "text", "train", "device")}
    return {
        "target": learned,
        "settings": shared,
        "grid": {"method": ["me+gd", "ga+gd"], "seed": [0, 1]},
        "baselines": ["retrained", "random"],
    }


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., SweepSpec]:
    """A spec, read from a file."""

    def read(content: dict[str, Any], *pairs: str) -> SweepSpec:
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return read_spec(path, pairs)

    return read


@pytest.fixture(scope="session")
def complete(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SweepResult, Told]:
    """The folder of the complete sweep, what it found and what it told; not to be changed."""
    out, told = tmp_path_factory.mktemp("complete") / "sweep", Told()
    return out, sweep(SweepSpec.model_validate(content), out, reporter=told), told


@pytest.fixture
def copied(complete: tuple[Path, SweepResult, Told], tmp_path: Path) -> Path:
    """A copy of that folder, elsewhere."""
    return shutil.copytree(complete[0], tmp_path / "copied")
