"""SIGTERM and SIGHUP: the step is finished and a checkpoint written; the resumed run is that of no signal at all."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
import yaml

from efface.cli import main
from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import validate_config
from efface.evaluation import generate
from efface.files.folder_lock import LOCK
from efface.run import unlearning_stage
from efface.run.folder import RunFolder
from efface.run.pipeline import run
from efface.train import early_end
from support.messages import assert_names

pytestmark = pytest.mark.slow  # quick: signals in tests/test_termination.py


@pytest.fixture
def start(settings, tmp_path, monkeypatch, capsys):
    """`efface COMMAND` in this process; a signal is sent after a step. Returns the exit code and stderr."""

    def make(command, out, *words, after=None, number=signal.SIGTERM):
        kept = {key: value for key, value in settings.items() if command == "run" or key in FinetuneConfig.model_fields}
        kept = {**kept, "train": {**kept["train"], "save_steps": 100}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(kept))
        append_step = RunFolder.append_step

        def watched(self, log):
            append_step(self, log)
            if log.step == after:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(RunFolder, "append_step", watched)
        monkeypatch.setattr("sys.argv", ["efface", command, str(tmp_path / "config.yaml"), "--out", str(out), *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        monkeypatch.setattr(RunFolder, "append_step", append_step)
        return int(ended.value.code or 0), capsys.readouterr().err

    return make


@pytest.mark.parametrize(
    ("command", "number"),
    [("run", signal.SIGTERM), pytest.param("finetune", signal.SIGHUP, marks=pytest.mark.slow)],
)
def test_the_step_is_finished_and_saved(start, tmp_path, command, number):
    out, whole = RunFolder(tmp_path / "out"), RunFolder(tmp_path / "whole")
    code, said = start(command, out.root, after=3, number=number)
    assert code == 143
    steps = json.loads(out.metrics.read_text().splitlines()[0])["steps"]
    assert_names(said, f"terminated after step 3 of {steps}", "checkpoint is complete", "--resume")
    assert [path.name for path in out.checkpoints.glob("step-*")] == ["step-000003"]
    assert len(out.metrics.read_text().splitlines()) == 3
    assert not (out.root / LOCK).exists()
    assert start(command, out.root, "--resume")[0] == 0
    assert start(command, whole.root)[0] == 0
    weights = "model.safetensors"
    assert (out.model / weights).read_bytes() == (whole.model / weights).read_bytes()
    assert len(out.metrics.read_text().splitlines()) == steps


def test_after_the_last_step_nothing_is_trained_again(start, tmp_path):
    out = RunFolder(tmp_path / "out")
    assert start("run", out.root, after=8)[0] == 143
    assert [path.name for path in out.checkpoints.glob("step-*")] == ["step-000008"]
    assert start("run", out.root, "--resume")[0] == 0
    assert len(out.metrics.read_text().splitlines()) == 8


def test_a_model_that_is_being_saved_is_completed(start, tmp_path, monkeypatch):
    save_trained = unlearning_stage.save_trained

    def terminated(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        save_trained(*arguments, **options)

    monkeypatch.setattr(unlearning_stage, "save_trained", terminated)
    code, said = start("run", tmp_path / "out")
    assert code == 143
    assert_names(said, "terminated; continue with --resume")
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_an_evaluation_ends_at_once(start, tmp_path, monkeypatch):
    greedy = generate._decode_in_batches

    def terminated(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return greedy(*arguments, **options)

    monkeypatch.setattr(generate, "_decode_in_batches", terminated)
    code, said = start("run", tmp_path / "out")
    assert code == 143
    assert_names(said, "terminated; continue with --resume")
    monkeypatch.setattr(generate, "_decode_in_batches", greedy)
    assert start("run", tmp_path / "out", "--resume")[0] == 0


def test_weights_that_are_not_finite_are_not_saved(start, tmp_path, monkeypatch):
    monkeypatch.setattr(early_end, "_is_finite", lambda model: False)
    code, said = start("run", tmp_path / "out", after=3)
    assert code == 143
    assert_names(said, "after step 3", "no checkpoint", "not finite")
    assert not list((tmp_path / "out").glob("checkpoints/step-*"))


def test_finite_weights():
    model = torch.nn.Linear(2, 2)
    assert early_end._is_finite(model)
    with torch.no_grad():
        model.bias[0] = torch.nan
    assert not early_end._is_finite(model)
    model.bias.requires_grad_(False)
    assert early_end._is_finite(model)


def test_the_library_leaves_signals_to_its_caller(settings, tmp_path):
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
    try:
        run(validate_config(RunConfig, settings), tmp_path / "out")
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught == [1]
