"""The training loop on accelerate: the same for unlearning and for fine-tuning."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from efface import distributed
from efface.atomic import atomic_file
from efface.errors import EffaceError
from efface.objectives.terms import Objective, Reference
from efface.packing.forward import device_of
from efface.train import checkpoint
from efface.train.config import TrainConfig
from efface.train.optimizer import make_optimizer
from efface.train.parallel import parallelize
from efface.train.sampler import Schedule
from efface.train.step import Example, Losses, batch_losses, tokens_of
from efface.train.token_budget import token_budget_for

_SMALLER = "token_budget.json"
"""Beside the checkpoints: what one of several processes found to fit, for the run to go on with."""


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


class _Numbers(NamedTuple):
    """What is read back from the device in a step."""

    forget: float
    retain: float
    norm: float


class Trainer:
    """Trains `model` in place, where it lies. Everything that the run must repeat is in the arguments.

    Several processes train one model: each step's examples are shared out, and its gradients meet.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        config: TrainConfig,
        plan: Schedule,
        *,
        seed: int,
        folder: Path,
        device: torch.device | None = None,
    ) -> None:
        """`folder`: where checkpoints and a tracker's files go; `device`: of the shards, by default the model's."""
        from transformers import get_linear_schedule_with_warmup

        self.objective, self.config, self.plan, self.seed = objective, config, plan, seed
        self.checkpoints = folder / "checkpoints"
        place = device or device_of(model)
        self.budget = token_budget_for(model, config, place)
        self.placement = parallelize(model, config, place)
        self.model, self.device = self.placement.model, self.placement.device
        self.optimizer = make_optimizer(self.model, config)
        self.placement.optimizer = self.optimizer
        self.scheduler = get_linear_schedule_with_warmup(self.optimizer, plan.warmup, plan.steps)
        self.accelerator = _accelerator(config, self.device, folder / "tracker")
        self.accelerator.register_for_checkpointing(self.scheduler, self.budget)

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
        self.budget.fit(max(tokens_of(example) for step in steps for example in step))
        done = self._resume() if resume else 0
        self.budget.apply(self.model)
        every = self.config.save_steps or self.plan.per_epoch
        self.model.train()
        for number in range(done + 1, len(steps) + 1):
            start, examples = time.perf_counter(), steps[number - 1]
            losses = self._losses_within_memory(number, examples, reference)
            norm = self.placement.norm()
            read = self._finite(number, examples, losses, norm)
            if number - 1 > done and (number - 1) % every == 0:
                # Only now: the finite losses show that the step before has left good weights.
                checkpoint.save(self.accelerator, self.placement, self.checkpoints, number - 1)
            rate = self._update(number, norm)
            log = self._log(number, examples, read, rate=rate, start=start)
            on_step(log)
            self.accelerator.log({name: value for name, value in asdict(log).items() if name != "step"}, step=number)

    def _resume(self) -> int:
        found = checkpoint.latest(self.checkpoints)
        if found is not None:
            checkpoint.load(self.accelerator, self.placement, found[1])
        if (smaller := self.checkpoints / _SMALLER).is_file():
            self.budget.load_state_dict(json.loads(smaller.read_text(encoding="utf-8")))
        return found[0] if found else 0

    def _close(self) -> None:
        """Leave the model as it would come from disk."""
        self.optimizer.zero_grad()
        for tracker in self.accelerator.trackers:  # `end_training` would part the processes, too
            tracker.finish()
        self.model.eval()

    def _losses_within_memory(self, number: int, examples: Sequence[Example], reference: Reference) -> Losses:
        """Losses and gradients of the step; where the GPU's memory runs out, again in smaller parts."""
        while True:
            self.optimizer.zero_grad()
            # Not on what came before, a kill or a lack of memory. The masks of several processes differ.
            self._seed(f"{number}/dropout" + (f"/{distributed.rank()}" if distributed.rank() else ""))
            try:
                with self.accelerator.autocast():
                    return batch_losses(
                        self.model,
                        self.objective,
                        examples,
                        reference,
                        max_tokens_per_forward=self.budget.tokens,
                        backward=self.accelerator.backward,
                        placement=self.placement,
                    )
            except torch.OutOfMemoryError:
                if not self.budget.smaller(examples):
                    raise _too_small("one example") from None
            if distributed.world_size() > 1:
                self._leave_smaller()
            self.budget.apply(self.model)
            torch.cuda.empty_cache()

    def _seed(self, purpose: str) -> None:
        """Let what torch draws next depend on the run's seed and on this alone."""
        torch.manual_seed(random.Random(f"{self.seed}/{purpose}").getrandbits(63))

    def _leave_smaller(self) -> None:
        """End this process, whose partners wait in the middle of a step: none of them can repeat it alone."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.checkpoints / _SMALLER) as beside:
            beside.write_text(json.dumps(self.budget.state_dict()), encoding="utf-8")
        raise distributed.DistributedError(
            f"process {distributed.rank()} of {distributed.world_size()} ran out of its GPU's memory; go on with --resume, "
            f"which puts at most {self.budget.tokens} tokens through the model at once, or set train.max_tokens_per_forward lower"
        )

    def _finite(self, number: int, examples: Sequence[Example], losses: Losses, norm: Tensor) -> _Numbers:
        """The step's losses and gradient norm as numbers; refuses to go on with what is not finite.

        The one time in a step that a GPU is waited for: while it updates the weights, the next batch is packed.
        """
        read = _Numbers(*torch.stack([losses.forget, losses.retain, norm]).tolist())
        if all(map(math.isfinite, (read.forget, read.retain, read.norm))):
            return read
        ids = sorted({sequence.id for example in examples for sequence in example.values()})
        found = checkpoint.latest(self.checkpoints)
        kept = f"the checkpoint of step {found[0]} stays in {found[1]}" if found else "no checkpoint was written yet"
        raise EffaceError(
            f"step {number} of {self.plan.steps}: {self.objective.name} is not finite (forget {read.forget:.4g}, "
            f"retain {read.retain:.4g}, gradient norm {read.norm:.4g}); {kept}; lower train.lr, or look at the items: "
            f"{', '.join(ids)}"
        )

    def _update(self, number: int, norm: Tensor) -> float:
        """Make the optimizer's step; returns its learning rate."""
        if self.config.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.config.max_grad_norm, norm)
        rate = float(self.scheduler.get_last_lr()[0])
        # 8-bit AdamW rounds by chance: in a resumed run as in one that never stopped, and alike in all processes
        self._seed(f"{number}/rounding")
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError:
            raise _too_small("the optimizer's state") from None
        self.scheduler.step()
        return rate

    def _log(self, number: int, examples: Sequence[Example], read: _Numbers, *, rate: float, start: float) -> StepLog:
        return StepLog(
            step=number,
            steps=self.plan.steps,
            loss=self.objective.forget_coeff * read.forget + self.objective.retain_coeff * read.retain,
            forget=read.forget,
            retain=read.retain,
            grad_norm=read.norm,
            lr=rate,
            tokens=sum(map(tokens_of, examples)),
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
        f"the GPU's memory does not hold {what}; train adapters (train.lora=true, train.lora.bits=4 for less), set "
        "train.optimizer=adamw8bit or use a smaller model; efface doctor tells what fits"
    )
