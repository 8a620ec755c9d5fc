"""Temporary folders and warnings of the library."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import efface as package
from efface import EffaceError
from efface.progress.reporter import SilentReporter
from efface.train.loop import Trainer
from efface.train.step import Losses
from support.library import (
    FORGET,
    MODEL,
    RETAIN,
    SCORED,
    SETTINGS,
    temporary_folders,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_the_library_works_in_one_process(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process would have a temporary folder of its own."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(EffaceError, match=r"the library works in one process; .* the command `efface run`"):
        package.unlearn(MODEL, forget=FORGET, retain=RETAIN, **SETTINGS)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_shown_on_standard_error(here: Path, capsys: pytest.CaptureFixture[str], progress: bool) -> None:
    package.unlearn(MODEL, forget=FORGET, scores=False, progress=progress, **SETTINGS | {"method": "me"})
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("• unlearning with me" in printed.err) is progress
    assert "loss" in printed.err or not progress


def test_a_temporary_folder_lives_as_long_as_what_is_returned(here: Path) -> None:
    done = package.unlearn(MODEL, forget=FORGET, scores=False, **SETTINGS | {"method": "me"})
    assert temporary_folders(here) == [done.folder]
    model = done.model
    del done
    gc.collect()
    assert temporary_folders(here) == []
    assert model(torch.tensor([[3, 4]])).logits.isfinite().all()
    with pytest.raises(EffaceError, match="unknown method"):
        package.unlearn(MODEL, forget=FORGET, method="mee")
    assert temporary_folders(here) == []
    assert list(here.iterdir()) == []


def test_training_that_diverges_leaves_its_checkpoint(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names it."""
    finite = Trainer._finite_values

    def diverging(self: Trainer, number: int, examples: Any, losses: Any, norm: torch.Tensor) -> Any:
        if number == 3:
            losses = Losses(losses.forget * math.inf, losses.retain)
        return finite(self, number, examples, losses, norm)

    monkeypatch.setattr(Trainer, "_finite_values", diverging)
    settings = SETTINGS | {"method": "ga", "train": {"lr": 1e-3, "epochs": 3, "batch_size": 8, "save_steps": 1}}
    with pytest.raises(EffaceError, match="the checkpoint of step 1 stays in ") as raised:
        package.unlearn(MODEL, forget=FORGET, scores=False, **settings)
    [folder] = temporary_folders(here)
    kept = str(raised.value).split(" stays in ")[1].split(";")[0]
    assert Path(kept).is_dir()
    assert Path(kept).is_relative_to(folder)


@pytest.mark.filterwarnings("default")
def test_warnings_are_pythons_without_a_reporter() -> None:
    with pytest.warns(UserWarning, match="cosine_similarity will be missing: switched off"):
        package.evaluate(MODEL, forget=FORGET, **SCORED)

    class Recording(SilentReporter):
        warned: list[str] = []  # noqa: RUF012 - one object

        def on_warning(self, text: str) -> None:
            self.warned.append(text)

    package.evaluate(MODEL, forget=FORGET, reporter=Recording(), **SCORED)
    assert any(text.startswith("cosine_similarity will be missing") for text in Recording.warned)


@pytest.mark.filterwarnings("default")
def test_warnings_name_rows_as_the_caller_does() -> None:
    rows = [{**row, "note": "x"} for row in FORGET]
    with pytest.warns(UserWarning, match="^forget: columns not read: note") as warned:
        package.evaluate(MODEL, forget=rows, **SCORED)
    assert {Path(each.filename).name for each in warned} == {"test_common.py"}
