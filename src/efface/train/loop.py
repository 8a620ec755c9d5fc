"""The training loop on accelerate: the same for unlearning and for fine-tuning."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from efface.errors import EffaceError
from efface.objectives.terms import Objective, Reference
from efface.text.forward import device_of, unwrapped
from efface.train import checkpoint
from efface.train.config import TrainConfig
from efface.train.memory import Budget, estimate
from efface.train.plan import Schedule
from efface.train.step import Example, Losses, batch_losses, micro_batches


@dataclass(frozen=True)
class StepLog:
    """One line of metrics.jsonl.

    Losses are unweighted except `loss`, the gradient's norm is that before clipping, and the seconds hold the
    writing of a checkpoint where one was due.
    """

    step: int
    steps: int
    loss: float
    forget: float
    retain: float
    grad_norm: float
    lr: float
    tokens: int
    seconds: float


class Trainer:
    """Trains `model` in place, where it lies. Everything that the run must repeat is in the arguments."""

    def __init__(
        self, model: Any, objective: Objective, config: TrainConfig, plan: Schedule, *, seed: int, folder: Path
    ) -> None:
        """`folder`: where checkpoints and a tracker's files go."""
        from transformers import get_linear_schedule_with_warmup

        self.objective, self.config, self.plan, self.seed = objective, config, plan, seed
        self.checkpoints = folder / "checkpoints"
        self.device = device_of(model)
        if config.gradient_checkpointing:
            unwrapped(model).gradient_checkpointing_enable({"use_reentrant": False})
        self.budget = Budget(config.token_budget or estimate(model, config))
        optimizer = torch.optim.AdamW(_decay_groups(model, config.weight_decay), lr=config.lr)
        warm = get_linear_schedule_with_warmup(optimizer, plan.warmup, plan.steps)
        self.accelerator = _accelerator(config, self.device, folder / "tracker")
        self.model, self.optimizer, self.scheduler = self.accelerator.prepare(model, optimizer, warm)
        self.accelerator.register_for_checkpointing(self.budget)
        if config.lora is not None:
            checkpoint.keep_trainable_only(self.accelerator)

    def run(
        self,
        steps: Sequence[Sequence[Example]],
        reference: Reference,
        *,
        resume: bool = False,
        on_step: Callable[[StepLog], None] | None = None,
    ) -> None:
        """Train on the examples of each step, from the last checkpoint if `resume`.

        Raises `EffaceError` when a loss or gradient is not finite: the last checkpoint, which still gave finite
        ones, stays.
        """
        try:
            with _randomness_kept(self.device):
                self._run(steps, reference, on_step or (lambda _: None), resume=resume)
        finally:
            self._close()

    def _run(
        self,
        steps: Sequence[Sequence[Example]],
        reference: Reference,
        on_step: Callable[[StepLog], None],
        *,
        resume: bool,
    ) -> None:
        done = self._resume() if resume else 0
        every = self.config.checkpoint_every or self.plan.per_epoch
        self.model.train()
        for number in range(done + 1, len(steps) + 1):
            start, examples = time.perf_counter(), steps[number - 1]
            losses = self._losses_within_memory(number, examples, reference)
            norm = self._finite_norm(number, examples, losses)
            if number - 1 > done and (number - 1) % every == 0:
                # Only now: the finite losses show that the step before has left good weights.
                checkpoint.save(self.accelerator, self.checkpoints, number - 1)
            rate = self._update(norm)
            log = self._log(number, examples, losses, norm=norm, rate=rate, start=start)
            on_step(log)
            self.accelerator.log({name: value for name, value in asdict(log).items() if name != "step"}, step=number)

    def _resume(self) -> int:
        found = checkpoint.latest(self.checkpoints)
        if found is None:
            return 0
        step, path = found
        checkpoint.load(self.accelerator, path)
        return step

    def _close(self) -> None:
        """Leave the model as it would come from disk."""
        self.optimizer.zero_grad()
        self.accelerator.end_training()
        for name in ("forward", "_original_forward"):  # `unwrap_model` would take transformers' decorators off, too
            vars(self.model).pop(name, None)
        self.model.eval()

    def _losses_within_memory(self, number: int, examples: Sequence[Example], reference: Reference) -> Losses:
        """Losses and gradients of the step; where the GPU's memory runs out, again in smaller parts."""
        while True:
            self.optimizer.zero_grad()
            # Dropout depends on the seed and the step alone: not on what came before, a kill or a lack of memory.
            torch.manual_seed(random.Random(f"{self.seed}/{number}/dropout").getrandbits(63))
            try:
                with self.accelerator.autocast():
                    return batch_losses(
                        self.model,
                        self.objective,
                        examples,
                        reference,
                        token_budget=self.budget.tokens,
                        backward=self.accelerator.backward,
                    )
            except torch.OutOfMemoryError:
                if len(list(micro_batches(examples, self.budget.tokens))) == len(examples):
                    raise _too_small("one example") from None
                self.budget.halve(examples)
            torch.cuda.empty_cache()

    def _finite_norm(self, number: int, examples: Sequence[Example], losses: Losses) -> Tensor:
        """Norm of the gradient, on its device; refuses to go on with what is not finite."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        if all(value.isfinite() for value in (losses.forget, losses.retain, norm)):
            return norm
        ids = sorted({sequence.id for example in examples for sequence in example.values()})
        found = checkpoint.latest(self.checkpoints)
        kept = f"the checkpoint of step {found[0]} stays in {found[1]}" if found else "no checkpoint was written yet"
        raise EffaceError(
            f"step {number} of {self.plan.steps}: {self.objective.name} is not finite (forget {losses.forget:.4g}, "
            f"retain {losses.retain:.4g}, gradient norm {norm:.4g}); {kept}; lower train.lr, or look at the items: "
            f"{', '.join(ids)}"
        )

    def _update(self, norm: Tensor) -> float:
        """Make the optimizer's step; returns its learning rate."""
        if self.config.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.config.max_grad_norm, norm)
        rate: float = self.scheduler.get_last_lr()[0]
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError:
            raise _too_small("the optimizer's state") from None
        self.scheduler.step()
        return rate

    def _log(
        self, number: int, examples: Sequence[Example], losses: Losses, *, norm: Tensor, rate: float, start: float
    ) -> StepLog:
        forget, retain = losses.forget.item(), losses.retain.item()
        return StepLog(
            step=number,
            steps=self.plan.steps,
            loss=self.objective.forget_coeff * forget + self.objective.retain_coeff * retain,
            forget=forget,
            retain=retain,
            grad_norm=norm.item(),
            lr=rate,
            tokens=sum(len(sequence) for example in examples for sequence in example.values()),
            seconds=time.perf_counter() - start,
        )


@contextmanager
def _randomness_kept(device: torch.device) -> Iterator[None]:
    """Give the global generators of Python, numpy and torch their states back: a checkpoint brings others."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _accelerator(config: TrainConfig, device: torch.device, folder: Path) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # All accelerators of a process share one state, which insists on the first one's precision and device.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        mixed_precision="bf16" if config.bf16_on(device.type) else "no",
        cpu=device.type == "cpu",
        log_with=config.tracker,
        project_dir=str(folder),
    )
    if config.tracker is not None:
        settings = config.model_dump(mode="json", exclude_none=True)
        adapters = {f"lora.{name}": value for name, value in settings.pop("lora", {}).items()}
        accelerator.init_trackers("efface", config=settings | adapters)
    return accelerator


def _too_small(what: str) -> EffaceError:
    return EffaceError(
        f"the GPU's memory does not hold {what}; set train.gradient_checkpointing=true, train LoRA adapters "
        "(train.lora.r=8) or use a smaller model"
    )


def _decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, biases and norms do not, as in transformers' trainer."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
