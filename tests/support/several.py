"""What each of several processes does in `tests/train/distribution/`: trainings of a tiny model, one by one.

Each case writes its final weights and its logs to a folder.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from efface import distributed
from efface.models.lora import add_adapters
from efface.objectives.config import KLConfig, MEConfig, ObjectiveConfig, RMUConfig
from efface.objectives.method import objective
from efface.objectives.terms import Objective, Reference
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.text.sequence import TokenizedSequence
from efface.train.batches.schedule import Schedule
from efface.train.config import LoRAConfig, SAMConfig, TrainConfig
from efface.train.loop import Trainer
from efface.train.optimizer import adamw8bit
from efface.train.step_log import StepLog
from support.tiny import VOCABULARY, llama
from support.training import in_rows

SCHEDULE = Schedule(steps=11, warmup_steps=2, steps_per_epoch=5)
LORA = LoRAConfig(r=2, dropout=0)
CASES: dict[str, tuple[str, TrainConfig, torch.dtype]] = {
    "idk+ap float64": ("idk+ap", TrainConfig(lr=1e-3), torch.float64),
    "npo+kl float64 in parts": ("npo+kl", TrainConfig(lr=1e-3, max_tokens_per_forward=40), torch.float64),
    "me+gd float64 clipped": ("me+gd", TrainConfig(lr=1e-3, max_grad_norm=0.1), torch.float64),
    "me+gd float32": ("me+gd", TrainConfig(lr=1e-3), torch.float32),
    "lora float64": ("dpo+gd", TrainConfig(lr=1e-3, lora=LORA), torch.float64),
    "me+kl float64 padded": (
        "me+kl",
        TrainConfig(lr=1e-3, average_over="micro-batch", micro_batch_size=2, max_tokens_per_forward=60),
        torch.float64,
    ),
    "rmu+embed float64 in parts": ("rmu+embed", TrainConfig(lr=1e-3, max_tokens_per_forward=40), torch.float64),
    "ceu+jsd float64 in parts": ("ceu+jsd", TrainConfig(lr=1e-3, max_tokens_per_forward=40), torch.float64),
    "recomputed float64": ("ga+gd", TrainConfig(lr=1e-3, gradient_checkpointing=True), torch.float64),
}
REPLICATED: dict[str, tuple[str, TrainConfig, torch.dtype]] = {
    "npo+kl bf16 without autocast": (
        "npo+kl",
        TrainConfig(lr=1e-3, precision="bf16", autocast=False, max_tokens_per_forward=40),
        torch.float32,
    ),
    "rmu+gd float64 with SAM": (
        "rmu+gd",
        TrainConfig(lr=1e-3, sam=SAMConfig(rho=0.1), max_tokens_per_forward=40),
        torch.float64,
    ),
}
"""Cases that cannot be sharded."""
WITH_FOUR = ("npo+kl float64 in parts", "me+gd float64 clipped")
"""The cases of four processes, which share two cores here; two processes run all of them."""
QUICK = "npo+kl float64 in parts"
FEW = "few examples float64"
"""A batch of three: with four processes, one has no example."""
KILLED_AT = 7
EIGHT = TrainConfig(lr=1e-3, save_steps=3, optimizer="adamw8bit", sharding="fsdp2").model_copy(
    update={"precision": "float32"}  # without stochastic rounding, whose draws differ
)
PLAIN = ObjectiveConfig(forget_coeff=0.1, rmu=RMUConfig(layer=0))
PADDED = ObjectiveConfig(
    forget_coeff=0.1,
    me=MEConfig(average="padded", padded_length=24),
    kl=KLConfig(average="padded", padded_length=20),
)


def small_blocks() -> None:
    """Let all matrices of the tiny model have 8-bit moments, and compile nothing."""
    adamw8bit.BLOCK = adamw8bit._MIN_8BIT = 8
    torch.compiler.set_stance("force_eager")


def model(dtype: torch.dtype, *, lora: LoRAConfig | None = None) -> Any:
    """The same tiny Llama in every process; with tied weights, which must stay tied in shards."""
    tiny = llama(tied=True, dtype=dtype)
    for module in list(tiny.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == "LlamaRMSNorm":  # which computes in float32 whatever the dtype
                setattr(module, name, torch.nn.RMSNorm(len(child.weight), child.variance_epsilon, dtype=dtype))
    return tiny if lora is None else add_adapters(tiny, lora, seed=0)


def steps(bound: Objective, batch: int, count: int = SCHEDULE.steps) -> list[list[dict[Any, TokenizedSequence]]]:
    """Random examples of every step."""
    generator = torch.Generator().manual_seed(0)

    def ids(high: int) -> list[int]:
        size = int(torch.randint(1, high, (), generator=generator))
        return torch.randint(0, VOCABULARY, (size,), generator=generator).tolist()

    return [
        [{view: TokenizedSequence(f"{step}/{view}/{n}", ids(8), ids(12)) for view in bound.views} for n in range(batch)]
        for step in range(1, count + 1)
    ]


def train(
    method: str,
    config: TrainConfig,
    dtype: torch.dtype,
    folder: Path,
    *,
    batch: int = 7,
    stop_at: int | None = None,
    die_at: int | None = None,
    resume: bool = False,
) -> tuple[dict[str, torch.Tensor], list[StepLog]]:
    """Train once; returns the unsharded weights in the main process, and the log of each step.

    `stop_at`: all processes end after this step, as if killed; `die_at`: only the last process ends, at once.
    """
    settings = PADDED if config.average_over == "micro-batch" else PLAIN
    bound = objective(method, settings)
    trainer = Trainer(model(dtype, lora=config.lora), bound, config, SCHEDULE, seed=0, folder=folder)
    logs: list[StepLog] = []

    def on_step(log: StepLog) -> None:
        logs.append(log)
        if log.step == die_at and distributed.rank() == distributed.world_size() - 1:
            os._exit(3)
        if log.step == stop_at:
            raise KeyboardInterrupt

    examples = in_rows(steps(bound, batch), bound)
    before = model(dtype)
    needed = [example[view] for step in examples for example in step for view in bound.sequence_reference_views]
    reference = Reference(
        CachedLogprobs.compute(before, needed, max_tokens_per_forward=200) if needed else None,
        LiveReference(before) if bound.needs_distribution else None,
    )
    with suppress(KeyboardInterrupt):
        trainer.run(examples, reference, resume=resume, on_step=on_step)
    full = trainer.parallel_model.full_model()
    return {name: each.detach().clone() for name, each in full.named_parameters() if each.requires_grad}, logs


def cases(count: int, sharding: str) -> list[str]:
    """Those of so many processes, by name."""
    return [*(WITH_FOUR if count == 4 else CASES), *(REPLICATED if sharding == "none" else ())]


def names(count: int, sharding: str) -> list[str]:
    """The trainings of so many processes, by name."""
    return [*cases(count, sharding), FEW, "resumed"]


def all_cases(folder: Path, sharding: str) -> None:
    """Every case for this number of processes, and one that is killed and resumed."""
    for name in cases(distributed.world_size(), sharding):
        method, config, dtype = (CASES | REPLICATED)[name]
        sharded = config.model_copy(update={"sharding": sharding})
        write(folder, name, *train(method, sharded, dtype, folder / "runs" / name))
    plain = TrainConfig(lr=1e-3, sharding=sharding, save_steps=3)
    write(folder, FEW, *train("ga+gd", plain, torch.float64, folder / "runs" / "few", batch=3))
    killed = folder / "runs" / "killed"
    train("ga+gd", plain, torch.float64, killed, stop_at=KILLED_AT)
    write(folder, "resumed", *train("ga+gd", plain, torch.float64, killed, resume=True))


def write(folder: Path, name: str, weights: dict[str, torch.Tensor], logs: list[StepLog]) -> None:
    """Write what the main process has."""
    if distributed.is_main_process():
        save_file(weights, folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps([asdict(log) for log in logs]), encoding="utf-8")
    distributed.barrier()


def work(folder: Path, sharding: str, what: str) -> None:
    """What a process does after it was started: `all` cases, the `quick` one, `eight` bits, or one that `dies`."""
    torch.set_num_threads(1)
    distributed.init_process_group("cpu")
    if what == "eight":
        small_blocks()
        write(folder, "plain", *train("ga+gd", EIGHT, torch.float32, folder / "runs" / "plain"))
        stopped = folder / "runs" / "stopped"
        train("ga+gd", EIGHT, torch.float32, stopped, stop_at=KILLED_AT)
        write(folder, "resumed", *train("ga+gd", EIGHT, torch.float32, stopped, resume=True))
    elif what == "dies":
        config = TrainConfig(lr=1e-3, sharding=sharding, save_steps=3)
        train("ga+gd", config, torch.float64, folder, die_at=KILLED_AT)
    elif what == "quick":
        method, settings, dtype = CASES[QUICK]
        sharded = settings.model_copy(update={"sharding": sharding})
        write(folder, QUICK, *train(method, sharded, dtype, folder / "runs" / QUICK))
    else:
        all_cases(folder, sharding)
