"""What the library must not leave behind: output, random states, module modes."""

from __future__ import annotations

import logging
import os
import random
import sys

import datasets
import numpy as np
import pytest
import torch

from efface.downstream.isolation import isolated_randomness, preserve_modes, quiet, with_output


def test_quiet_suppresses_output_and_restores_everything(capfd):
    level = logging.getLogger("transformers").level
    bars = datasets.are_progress_bars_disabled()
    before = os.environ.get("DISABLE_MULTIPROC")
    report = with_output(print)
    with quiet():
        print("suppressed")
        print("suppressed", file=sys.stderr)
        report("shown")
        assert logging.getLogger("transformers").level == logging.ERROR
        assert datasets.are_progress_bars_disabled()
        assert os.environ["DISABLE_MULTIPROC"] == "1"
    assert capfd.readouterr() == ("shown\n", "")
    assert logging.getLogger("transformers").level == level
    assert datasets.are_progress_bars_disabled() == bars
    assert os.environ.get("DISABLE_MULTIPROC") == before


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_random_generators_start_at_the_seed_and_are_restored(model):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = draw()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with isolated_randomness(7, model):
        first = draw()
    with isolated_randomness(7, model):
        assert draw() == first
    with pytest.raises(ZeroDivisionError), isolated_randomness(8, model):
        random.seed(1 // 0)
    assert draw() == expected


def test_modes_of_modules_are_restored(model):
    model.train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    with preserve_modes(model):
        model.eval()
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(ZeroDivisionError), preserve_modes(model.eval()):
        model.train(mode=1 // 0)
    assert not model.training
