"""Open a model: loaded, hashed, checked, with a formatter that knows its limits."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.models import open as module
from efface.models.folder import model_sha256
from efface.models.open import open_model
from efface.text.config import TextConfig
from support.runs import Told

CPU = torch.device("cpu")
PLAIN = TextConfig(format="plain")


def test_an_opened_model(source):
    reporter = Told()
    opened = open_model(str(source), PLAIN, device=CPU, reporter=reporter)
    assert (opened.source, opened.sha256) == (source, model_sha256(source))
    assert opened.model.dtype == torch.float32
    assert opened.formatter.limit == 512
    assert reporter.warnings == []


def test_precision_and_dtype_decide_the_weights(source):
    def dtype(**changes):
        return open_model(str(source), PLAIN, device=CPU, reporter=Told(), **changes).model.dtype

    assert dtype(precision="bf16") == torch.bfloat16
    assert dtype(precision="bf16", dtype=torch.float64) == torch.float64


def test_untrained_weights(source):
    stored, random = (
        open_model(str(source), PLAIN, device=CPU, reporter=Told(), random_seed=seed) for seed in (None, 3)
    )
    assert random.sha256 == stored.sha256
    assert not torch.equal(random.model.lm_head.weight, stored.model.lm_head.weight)


def test_a_model_that_cannot_be_packed_is_warned_of(source, monkeypatch):
    monkeypatch.setattr(module, "packing_unsupported_reason", lambda model: "odd layers")
    reporter = Told()
    open_model(str(source), PLAIN, device=CPU, reporter=reporter)
    [warning] = reporter.warnings
    assert warning.startswith("odd layers; ")
    assert "padded" in warning


def test_a_model_that_fills_the_gpu(source, monkeypatch):
    def fails(model):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "packing_unsupported_reason", fails)
    with pytest.raises(EffaceError, match=rf"model {source} fits into the GPU's memory, but .*; use device=cpu"):
        open_model(str(source), PLAIN, device=CPU, reporter=Told())
