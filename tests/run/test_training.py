"""Training in a run's folder: what is refused early, and what stays in memory and on disk."""

from __future__ import annotations

import gc
import json
import shutil
import weakref

import pytest
import torch

from efface import distributed
from efface.errors import EffaceError
from efface.models.load import load_model
from efface.models.load_parallel import load_to_train
from efface.objectives.method import fine_tuning
from efface.objectives.terms import Reference
from efface.progress.reporter import SilentReporter
from efface.run import training
from efface.run.folder import RunFolder
from efface.run.training import check_can_train, train, warn_before_training
from efface.schema import Task
from efface.text.sequence import TokenizedSequence
from efface.train.batches.schedule import Schedule
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.loop import Trainer
from efface.train.step_log import StepLog
from efface.train.watch import Watch, WatchedItem
from support.messages import assert_names
from support.runs import Told

CPU = torch.device("cpu")
STEPS = [[{"retain": TokenizedSequence(f"{step}", [5, step], [7, 1])}] for step in range(1, 5)]


class Watching(SilentReporter):
    """Remembers the steps it is told of; dies after `dies_after`, as the process would."""

    def __init__(self, dies_after=None):
        self.steps = []
        self.dies_after = dies_after

    def on_step(self, log):
        self.steps.append(log.step)
        if log.step == self.dies_after:
            raise KeyboardInterrupt


@pytest.fixture
def trained(source, tmp_path):
    def run(
        config=TrainConfig(save_steps=1),  # noqa: B008
        *,
        resume=False,
        reporter=None,
        reference=lambda _: Reference(),
        watch=None,
    ):
        (tmp_path / "run").mkdir(exist_ok=True)
        return train(
            load_to_train(source, config, CPU),
            fine_tuning(),
            STEPS,
            config,
            Schedule(steps=4, warmup_steps=0, steps_per_epoch=4),
            seed=0,
            folder=RunFolder(tmp_path / "run"),
            device=CPU,
            reference=reference,
            resume=resume,
            reporter=reporter or SilentReporter(),
            watch=watch,
        )

    return run


def test_rounded_weights_cannot_be_sharded():
    check_can_train(TrainConfig(sharding="fsdp2"), CPU)
    check_can_train(TrainConfig(sharding="fsdp2", lora=LoRAConfig()), CPU)
    with pytest.raises(
        EffaceError, match=r"train.sharding=fsdp2 cannot shard quantized weights .* leave one of the two"
    ):
        check_can_train(TrainConfig(sharding="fsdp2", lora=LoRAConfig(bits=8)), CPU)


def test_only_the_first_process_writes_steps(tmp_path, monkeypatch):
    log = StepLog(1, 1, 0.0, 0.0, 0.0, grad_norm=0.0, lr=0.0, tokens=1, seconds=0.0)
    folder = RunFolder(tmp_path)
    monkeypatch.setattr(distributed, "_group", distributed._Group(1, 2))
    folder.append_step(log)
    assert not folder.metrics.exists()
    monkeypatch.setattr(distributed, "_group", distributed._Group(0, 2))
    folder.append_step(log)
    assert len(folder.metrics.read_text().splitlines()) == 1


def test_missing_packages_are_said_before_any_work(monkeypatch):
    check_can_train(TrainConfig(lora=LoRAConfig(), tracker="tensorboard"), CPU)
    with pytest.raises(EffaceError, match=r"train.tracker=aim: its package is not installed; "):
        check_can_train(TrainConfig(tracker="aim"), CPU)
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    with pytest.raises(EffaceError, match=r"train.lora needs PEFT; .*\[lora\]"):
        check_can_train(TrainConfig(lora=LoRAConfig()), CPU)
    check_can_train(TrainConfig(), CPU)


def test_answers_that_share_a_token_with_their_prompt_are_counted():
    told = Told()
    task = Task(name="own", forget=(), retain=(), evaluation=(), refusals=())
    warn_before_training(task, STEPS, TrainConfig(), items=100, boundary="joint", reporter=told)
    assert told.warnings == []
    shared = [{"retain": TokenizedSequence("shared", [5, 9], [7, 1], merged=True)}]
    warn_before_training(task, [*STEPS, shared, shared], TrainConfig(), items=100, boundary="joint", reporter=told)
    [warning] = told.warnings
    assert_names(warning, "training", "1 of 5 answers", "'shared'", "text.boundary")


def test_each_step_is_a_line_and_is_reported(trained, tmp_path):
    reporter = Watching()
    trained(reporter=reporter)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == reporter.steps == [1, 2, 3, 4]
    assert set(lines[0]) == {"step", "steps", "loss", "forget", "retain", "grad_norm", "lr", "tokens", "seconds"}


def test_resumed_lines_stand_once(trained, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(reporter=Watching(dies_after=3))  # the checkpoint of step 2 is there
    reporter = Watching()
    trained(resume=True, reporter=reporter)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert reporter.steps == [3, 4]


def test_the_reference_is_asked_for_before_a_checkpoint_is_loaded(trained, source):
    """It must be the model before training, whatever the checkpoint holds."""
    asked = []

    def reference(trainer: Trainer) -> Reference:
        asked.append(trainer.model.lm_head.weight.detach().clone())
        return Reference()

    before = load_model(source, dtype=torch.float32, device=CPU).lm_head.weight
    with pytest.raises(KeyboardInterrupt):
        trained(reporter=Watching(dies_after=3))
    model = trained(resume=True, reference=reference).model
    assert torch.equal(asked[0], before)
    assert not torch.equal(model.lm_head.weight, before)


def test_with_lora_the_model_comes_back_inside_peft(trained):
    model = trained(TrainConfig(lora=LoRAConfig(r=2), lr=1e-3)).model
    assert hasattr(model, "merge_and_unload")
    assert any(parameter.abs().sum() > 0 for name, parameter in model.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_nothing_but_the_model_stays_in_memory(trained, precision):
    """AdamW's state is twice the model: it must be gone before the model is saved, not when Python collects."""
    states = []

    def reference(trainer: Trainer) -> Reference:
        states.append(weakref.ref(trainer.optimizer))
        return Reference()

    gc.disable()
    try:
        model = trained(TrainConfig(precision=precision), reference=reference).model
        assert states[0]() is None
        assert all(parameter.grad is None for parameter in model.parameters())
    finally:
        gc.enable()


WATCH = Watch((), (WatchedItem(TokenizedSequence("w", [5], [7, 1]), TokenizedSequence("w", [5], [9, 1])),),
              {0: 0, 2: 1, 4: 2}, beta=0.1)  # fmt: skip


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]


def test_watched_epochs_have_lines_of_their_own(trained, tmp_path):
    trained(watch=WATCH)
    found = lines(tmp_path)
    assert [(each["step"], each.get("epoch")) for each in found] == [
        *((0, 0), (1, None), (2, None), (2, 1), (3, None), (4, None), (4, 2))
    ]
    losses = {each["step"]: each["loss"] for each in found if "loss" in each}
    assert all(each["retain_answer"] < 0 < each["ap_weight"] < 1 for each in found if "epoch" in each)
    shutil.rmtree(tmp_path / "run")
    trained()
    assert [each["loss"] for each in lines(tmp_path)] == list(losses.values())  # watching changes nothing


@pytest.mark.parametrize("dies_after", [1, 2, 3, 4])
def test_a_resumed_training_has_the_same_watched_lines(trained, tmp_path, dies_after):
    trained(watch=WATCH)
    whole = [{**each, "seconds": 0} for each in lines(tmp_path)]
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        trained(watch=WATCH, reporter=Watching(dies_after))
    trained(watch=WATCH, resume=True)
    assert [{**each, "seconds": 0} for each in lines(tmp_path)] == whole
