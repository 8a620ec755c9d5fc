"""The comparison with `transformers.Trainer`: both train on the same text with the same loss."""

from __future__ import annotations

import json

import pytest
import torch

import against_trainer


@pytest.mark.parametrize("method", [[], pytest.param(["--method", "idk+gd"], marks=pytest.mark.slow)])
def test_both_start_at_the_same_loss_of_random_weights(capsys, method):
    before = torch.get_num_threads()
    try:
        assert against_trainer.main(["--items", "12", "--batch", "4", "--steps", "2", *method]) == 0
    finally:
        torch.set_num_threads(before)
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["efface_loss"] == pytest.approx(report["trainer_loss"], rel=0.02)
    assert report["speedup"] == pytest.approx(report["trainer"] / report["efface"])
