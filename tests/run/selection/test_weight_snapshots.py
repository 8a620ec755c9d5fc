"""The weights at some step: stored, found and made into a model again; epochs are in test_epoch_snapshots.py."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.errors import EffaceError
from efface.progress.reporter import SilentReporter
from efface.run.folder import RunFolder
from efface.run.preparation.prepare import prepare
from efface.run.selection.weight_snapshots import WeightSnapshots
from support.messages import assert_names


@pytest.fixture
def taken(settings, tmp_path):
    """Snapshots with one of a model whose weights were halved; the model."""
    config = validate_config(RunConfig, settings)
    run = RunFolder(tmp_path / "run")
    prepared, opened = prepare(config, run, data_dir=None, reporter=SilentReporter(), resume=False)
    with torch.no_grad():
        for parameter in opened.model.parameters():
            parameter.mul_(0.5)
    snapshots = WeightSnapshots(tmp_path / "snapshots", prepared.plan, prepared.device)
    snapshots.write(opened.parallel_model, "half")
    return snapshots, opened.model


def test_a_model_is_made_again(taken, tmp_path):
    snapshots, model = taken
    snapshots.rebuild("half", tmp_path / "model")
    rebuilt = load_file(tmp_path / "model" / "model.safetensors")
    stored = dict(model.named_parameters())
    assert rebuilt
    assert all(torch.equal(each, stored[name]) for name, each in rebuilt.items())


def test_what_is_there(taken, tmp_path):
    snapshots, _ = taken
    assert snapshots.has("half")
    assert not snapshots.has("other")
    with pytest.raises(EffaceError) as refused:
        snapshots.rebuild("other", tmp_path / "model")
    assert_names(str(refused.value), "other", "--out")
    assert not (tmp_path / "model").exists()


def test_a_full_disk_leaves_no_half_snapshot(taken, files_of_at_most):
    snapshots, model = taken
    from efface.train.distribution.parallel import ParallelModel

    with files_of_at_most(1000), pytest.raises(EffaceError, match="free some space"):
        snapshots.write(ParallelModel(model), "more")
    assert not snapshots.has("more")
    assert {path.name for path in snapshots.folder.iterdir()} == {"half"}
