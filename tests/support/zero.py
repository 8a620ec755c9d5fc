"""What each of several processes does in `tests/train/distribution/test_zero_model.py`: trainings with ZeRO-3."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from efface import distributed
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.packing import forward
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.train.batches.schedule import Schedule
from efface.train.config import TrainConfig
from efface.train.loop import Trainer
from efface.train.step_log import StepLog
from support import several
from support.tiny import VOCABULARY

SCHEDULE = Schedule(steps=20, warmup_steps=2, steps_per_epoch=5)
KILLED_AT = 13
CASES: dict[str, tuple[str, TrainConfig]] = {
    "npo+kl in parts, clipped": ("npo+kl", TrainConfig(lr=1e-3, max_tokens_per_forward=40, max_grad_norm=0.1)),
    "me+gd of some weights, recomputed": (
        "me+gd",
        TrainConfig(lr=1e-3, parameters=r".*(down_proj|norm)\.weight", gradient_checkpointing=True),
    ),
    "dpo+gd bf16": ("dpo+gd", TrainConfig(lr=1e-3, precision="bf16", autocast=False)),
}
RESUMED = "ga+gd resumed"


def train(
    method: str, config: TrainConfig, folder: Path, *, stop_at: int | None = None, resume: bool = False
) -> tuple[dict[str, torch.Tensor], list[StepLog]]:
    """Train once; returns the weights in the main process, and the log of each step."""
    from efface.train.optimizer.trained_weights import choose_trained

    bound = objective(method, several.PLAIN)
    model = several.model(torch.float32)
    choose_trained(model, config.parameters)
    trainer = Trainer(model, bound, config, SCHEDULE, seed=0, folder=folder)
    logs: list[StepLog] = []

    def on_step(log: StepLog) -> None:
        logs.append(log)
        if log.step == stop_at:
            raise KeyboardInterrupt

    examples = several.steps(bound, 7, SCHEDULE.steps)
    before = several.model(torch.float32)
    needed = [example[view] for step in examples for example in step for view in bound.sequence_reference_views]
    reference = Reference(
        CachedLogprobs.compute(before, needed, max_tokens_per_forward=200) if needed else None,
        LiveReference(before) if bound.needs_distribution else None,
    )
    with suppress(KeyboardInterrupt):
        trainer.run(examples, reference, resume=resume, on_step=on_step)
    full = trainer.parallel_model.full_model()
    return {name: each.detach().clone() for name, each in full.named_parameters()}, logs


def work(folder: Path) -> None:
    """What a process does after it was started: every case, and one that is stopped and resumed."""
    torch.set_num_threads(1)
    distributed.init_process_group("cpu")
    forward._CHUNK_ELEMENTS = 5 * VOCABULARY  # processes then call the head different numbers of times
    for name, (method, config) in CASES.items():
        write(folder, name, *train(method, config.model_copy(update={"sharding": "zero3"}), folder / "runs" / name))
    config, stopped = TrainConfig(lr=1e-3, sharding="zero3", save_steps=3), folder / "runs" / "stopped"
    train("ga+gd", config, stopped, stop_at=KILLED_AT)
    write(folder, RESUMED, *train("ga+gd", config, stopped, resume=True))


def write(folder: Path, name: str, weights: dict[str, Any], logs: list[StepLog]) -> None:
    """Write what the main process has."""
    if distributed.is_main_process():
        save_file(weights, folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps([asdict(log) for log in logs]), encoding="utf-8")
    distributed.barrier()
