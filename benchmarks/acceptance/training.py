"""Part 3: whole trainings of TOFU's forget10: tokens per second, memory, and the share of the matrix rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from acceptance.sizes import Sizes
from acceptance.stages import Measurements, Row, synchronized_seconds
from efface.models.auto_optimizer import resolve_optimizer
from efface.models.lora import add_adapters
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.packing.forward import unwrap_peft
from efface.train.batches.examples import unlearning_examples
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.sampler import sample_batches
from efface.train.batches.schedule import make_schedule
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.loop import Trainer
from efface.train.optimizer.optimizer import weights_dtype
from efface.train.step_log import StepLog
from measure import peak_resident
from profile_step import matmul_rate
from shapes import Shape, build_model, llama_config
from workload import formatter_for, load_text

_SEED = 0
_FULL_FLOPS, _LORA_FLOPS = 6, 4
"""FLOP per weight and token: forward 2, gradients of activations 2, gradients of weights 2."""

Steps = Sequence[Sequence[TrainingExample]]


def lora_of_7b(sizes: Sizes, device: str) -> Measurements:
    """Adapters on 7B, in the memory of a smaller card."""
    config = TrainConfig(lora=LoRAConfig(), memory_gib=sizes.lora_gib, epochs=sizes.epochs, batch_size=sizes.batch_size)
    return {
        f"LoRA of 7B, {method.upper()}": partial(_train_within, config, method, sizes, device)
        for method in ("idk+ap", "me+gd")
    }


def full_7b(sizes: Sizes, device: str) -> Measurements:
    """All weights of 7B, with the settings of a run."""
    return _full(sizes, device, "7B", ("idk+ap", "me+gd"))


def full_1b(sizes: Sizes, device: str) -> Measurements:
    """All weights of 1B, with the settings of a run."""
    return _full(sizes, device, "1B", ("idk+ap",))


def _full(sizes: Sizes, device: str, model: str, methods: Sequence[str]) -> Measurements:
    config = TrainConfig(epochs=sizes.epochs, batch_size=sizes.batch_size)
    return {
        f"full training of {model}, {method.upper()}": partial(
            measure_training, config, method, sizes.models[model], sizes, device
        )
        for method in methods
    }


def _train_within(config: TrainConfig, method: str, sizes: Sizes, device: str) -> Row:
    assert config.memory_gib is not None
    with memory_limit(config.memory_gib, device):
        return measure_training(config, method, sizes.models["7B"], sizes, device)


def measure_training(config: TrainConfig, method: str, shape: Shape, sizes: Sizes, device: str) -> Row:
    """A whole training from random weights, as a run does it after the model is loaded."""
    resolved, model = training_model(config, shape, device)
    logs: list[StepLog] = []
    steps = forget_steps(resolved, method, sizes.forget_set)
    with training(model, resolved, method, sizes.forget_set) as trainer:
        seconds = synchronized_seconds(lambda: trainer.run(steps, Reference(), on_step=logs.append), device)
        checkpointing = trainer.budget.checkpointing
    later = logs[1:] or logs  # the first step compiles
    rate = sum(log.tokens for log in later) / sum(log.seconds for log in later)
    return {
        "steps": len(logs),
        "tokens": sum(log.tokens for log in logs),
        "training_seconds": seconds,
        "first_step_seconds": logs[0].seconds,
        "step_seconds": median(log.seconds for log in later),
        "tokens_per_second": rate,
        "last_loss": logs[-1].loss,
        "optimizer": resolved.optimizer,
        "checkpointing": checkpointing,
        **peak_gib(device),
        **_matrix_share(model, rate, full=config.lora is None, device=device, sides=sizes.matrix_sides),
    }


def training_model(config: TrainConfig, shape: Shape, device: str) -> tuple[TrainConfig, Any]:
    """The resolved settings, and a model with random weights that are made on the device."""
    place = torch.device(device)
    resolved = resolve_optimizer(config, llama_config(shape), place, earlier=None)
    model = build_model(shape, seed=_SEED, dtype=weights_dtype(resolved, device), device=place)
    return resolved, model if config.lora is None else add_adapters(model, config.lora, seed=_SEED)


@contextmanager
def training(model: Any, config: TrainConfig, method: str, items: int) -> Iterator[Trainer]:
    """The trainer of a run that forgets `items` items, with a temporary folder."""
    with TemporaryDirectory(prefix="efface-") as folder:
        bound = objective(method, ObjectiveConfig())
        yield Trainer(model, bound, config, make_schedule(items, config), seed=_SEED, folder=Path(folder))


@cache
def forget_steps(config: TrainConfig, method: str, items: int) -> Steps:
    """The examples of all steps."""
    task, source = load_text(items)
    views = objective(method, ObjectiveConfig()).views
    return unlearning_examples(sample_batches(task, config, _SEED), views, formatter_for(task, source))


@contextmanager
def memory_limit(gib: float, device: str) -> Iterator[None]:
    """Let torch allocate no more than so much of a GPU's memory."""
    if device != "cuda":
        yield
        return
    share = gib * 2**30 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, share))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def peak_gib(device: str) -> dict[str, float]:
    """Peak memory of tensors, and that torch took from the GPU for them; on a CPU, that of the whole process."""
    if device != "cuda":
        return dict.fromkeys(("peak_gib", "peak_reserved_gib"), peak_resident() / 2**30)
    peaks: dict[str, Callable[[], int]] = {
        "peak_gib": torch.cuda.max_memory_allocated,
        "peak_reserved_gib": torch.cuda.max_memory_reserved,
    }
    return {name: read() / 2**30 for name, read in peaks.items()}


def _matrix_share(
    model: Any, tokens_per_second: float, *, full: bool, device: str, sides: Sequence[int]
) -> dict[str, float]:
    """The share of the machine's matrix rate (MFU): embeddings are looked up, and the head counts at every token."""
    inner = unwrap_peft(model)
    table, head = inner.get_input_embeddings().weight, inner.get_output_embeddings().weight
    weights = sum(each.numel() for each in inner.parameters()) - (0 if head is table else table.numel())
    flops = (_FULL_FLOPS if full else _LORA_FLOPS) * weights * tokens_per_second
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    rate = matmul_rate(dtype, torch.device(device), sides)
    return {"flops_per_second": flops, "matmul_rate": rate, "share_of_rate": flops / rate}
