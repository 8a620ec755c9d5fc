"""Fixtures of tests that run on a tiny model."""

from __future__ import annotations

import gc
import weakref

import pytest

from efface.models import load_parallel
from efface.models.load import load_model
from efface.run.selection import weight_snapshots
from support.run_fixtures import (  # noqa: F401
    files_of_at_most,
    made,
    model_in,
    one_thread,
    queue_settings,
    results,
    settings,
    source,
)


@pytest.fixture
def loads(monkeypatch):
    """One entry a load: the model's folder, and how many models are in memory already."""
    found, models = [], []

    def watched(folder, **options):
        found.append((folder.name, sum(model() is not None for model in models)))
        model = load_model(folder, **options)
        models.append(weakref.ref(model.get_input_embeddings()))
        vars(model)["cycle"] = model  # as loaders leave them, depending on what they have to import
        return model

    for module in (load_parallel, weight_snapshots):
        monkeypatch.setattr(module, "load_model", watched)
    gc.disable()  # a model must be gone when it is not needed, not when Python collects
    yield found
    gc.enable()
