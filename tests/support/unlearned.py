"""A small model, a changed copy of it, and the folder of a run that saved the copy."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import torch

from efface.artifacts import Manifest
from efface.config.commands import RunConfig
from efface.models.folder import model_sha256
from efface.run.folder import RunFolder

GOLDEN = Path(__file__).parents[1] / "golden" / "model"


def load_golden() -> Any:
    """The model of the golden numbers, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).eval()


def changed_copy(model: Any) -> Any:
    """A copy that generates other text."""
    changed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    for parameter in changed.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return changed


def write_unlearned_run(folder: Path, after: Any) -> Path:
    """A run from the golden model that was interrupted after it had saved the model `after`."""
    config = RunConfig.model_validate(
        {
            "method": "me+gd",
            "model": str(GOLDEN),
            "data": {"source": "synthetic-authors", "authors": 3, "forget_authors": 1, "retain_evaluation": 3},
            "text": {"format": "plain"},
            "evaluate": {"max_new_tokens": 5},
        }
    )
    manifest = Manifest(
        efface="0",
        commit=None,
        command=[],
        seed=0,
        device="cpu",
        precision="float32",
        versions={},
        data={},
        model=str(GOLDEN),
        model_sha256=model_sha256(GOLDEN),
        started="2026-01-01T00:00:00+00:00",
    )
    run = RunFolder(folder)
    run.start(config, manifest)
    shutil.copytree(GOLDEN, run.model)
    after.save_pretrained(run.model)
    return run.root
