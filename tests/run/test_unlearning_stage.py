"""Training within a run: once, into the run's folder."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.run import unlearning_stage
from efface.run.folder import RunFolder
from efface.run.metadata.metadata import RunMetadata
from efface.run.preparation.prepare import prepare
from efface.run.unlearning_stage import unlearn_model
from support.runs import Told


def test_the_model_is_trained_once(settings, source, tmp_path, monkeypatch):
    config = validate_config(RunConfig, merge_settings(settings, {"train": {"epochs": 1, "batch_size": 10}}))
    folder, reporter = RunFolder(tmp_path / "run"), Told()
    prepared, _ = prepare(config, folder, data_dir=None, reporter=reporter, resume=False)
    metadata = RunMetadata(folder, config, prepared.manifest)
    metadata.start()

    def unlearn():
        unlearn_model(
            prepared.plan,
            folder,
            device=prepared.device,
            resume=False,
            metadata=metadata,
            reporter=reporter,
            snapshots=None,
        )

    unlearn()
    before, after = (load_file(path / "model.safetensors") for path in (source, folder.model))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert list(folder.read_manifest().seconds) == ["unlearn"]
    monkeypatch.setattr(unlearning_stage, "train", None)
    unlearn()
    assert reporter.stages == ["unlearning with me+gd", f"unlearned already: {folder.model}"]
