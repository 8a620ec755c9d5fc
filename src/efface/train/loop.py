"""The training loop: the same for unlearning and for fine-tuning."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from efface import distributed, termination
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from efface.main_process import from_main_process, on_main_process
from efface.objectives.terms import Objective, Reference
from efface.packing.forward import device_of
from efface.train.batches.lazy_steps import known_steps
from efface.train.batches.micro_batches import TrainingExample, count_tokens
from efface.train.batches.schedule import Schedule
from efface.train.batches.token_budget import out_of_memory, token_budget_for
from efface.train.checkpoints import checkpoint
from efface.train.checkpoints.checkpoint import TrainerState
from efface.train.checkpoints.checkpoint_timer import CheckpointTimer
from efface.train.checkpoints.checkpoint_writer import CheckpointWriter
from efface.train.config import TrainConfig
from efface.train.distribution.parallelize import parallelize
from efface.train.distribution.sharded_model import ReadRows
from efface.train.early_end import REDUCED_BUDGET, end_if_requested, stop_with_reduced_budget
from efface.train.kernels import replaced, replacements
from efface.train.optimizer.optimizer import make_optimizer
from efface.train.precision import Computation, computation, computing
from efface.train.retain_bound import with_next_coeff
from efface.train.sam import passes, sam_losses
from efface.train.step import Losses, batch_losses
from efface.train.step_log import StepLog
from efface.train.tracker import LogValues, tracking


class _StepValues(NamedTuple):
    """What is read back from the device in a step."""

    forget: float
    retain: float
    grad_norm: float


class Trainer:
    """Trains a model in place, on the device that it is on.

    All that the result depends on is in the arguments. Several processes train one model: each computes its share of
    every step's examples, and the gradients are averaged.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        config: TrainConfig,
        schedule: Schedule,
        *,
        seed: int,
        folder: Path,
        device: torch.device | None = None,
        read: ReadRows | None = None,
    ) -> None:
        """Distribute the model over the processes and make its optimizer.

        Args:
            model: Of transformers or PEFT; what requires a gradient is trained.
            objective: The loss.
            config: Settings of training.
            schedule: Number of steps and of warm-up steps.
            seed: Of dropout masks and of stochastic rounding.
            folder: For checkpoints and for the files of a tracker.
            device: To train on; by default the model's. Differs from it for FSDP2, which moves the shards there.
            read: Reads the weights of a model on the meta device.

        Raises:
            EffaceError: The model cannot be sharded, the optimizer is not installed, or kernels do not know the model.
        """
        self.objective, self.config, self.schedule, self.seed = objective, config, schedule, seed
        self.folder, self.checkpoints = folder, RunPaths(folder).checkpoints
        target = device or device_of(model)
        self.budget = token_budget_for(model, config, target)
        whole = all(each.last_layer is None for each in passes(objective, config.sam.rho))
        self.parallel_model = parallelize(model, config, target, read=read, whole=whole)
        self.model, self.device = self.parallel_model.model, self.parallel_model.device
        self.optimizer = make_optimizer(self.model, config)
        self.parallel_model.computing = partial(computing, self.model, self.computation, self.device)
        self.parallel_model.use_optimizer(self.optimizer)
        self._kernels = replacements(self.model, config)
        self.scheduler = self._make_scheduler(steps_done=0)
        self._writer = CheckpointWriter(self.checkpoints, sharded=self.parallel_model.is_sharded)
        self._timer = CheckpointTimer(config)

    @property
    def computation(self) -> Computation:
        """How forward and backward pass compute."""
        return computation(self.config, self.device.type)

    def computing(self) -> AbstractContextManager[Any]:
        """The context of forward passes. Inside, the model's parameters may be copies of the weights."""
        return self.parallel_model.computing()

    def run(
        self,
        steps: Sequence[Sequence[TrainingExample]],
        reference: Reference,
        *,
        resume: bool = False,
        on_step: Callable[[StepLog], bool | None] | None = None,
        last_step: int | None = None,
    ) -> None:
        """Train, and leave the model in evaluation mode and without gradients.

        torch's random generators have their previous state afterwards.

        Args:
            steps: The examples of each optimizer step.
            reference: What the objective compares with.
            resume: Continue after the last checkpoint, if there is one.
            on_step: Called after each step; training ends with it where this returns True.
            last_step: End after this step; None for all of `steps`.

        Raises:
            EffaceError: A loss or gradient is not finite (the last checkpoint, which still gave finite ones, stays),
                a checkpoint does not load or cannot be written, or one example does not fit in the GPU's memory.
        """
        try:
            with (
                tracking(self.config, RunPaths(self.folder).tracker, cpu=self.device.type == "cpu") as log_values,
                torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []),
            ):
                self._run(steps, reference, on_step or (lambda _: None), log_values, resume=resume, last_step=last_step)
        finally:
            self._writer.close()
            self.optimizer.zero_grad()
            self.model.eval()

    def _run(
        self,
        steps: Sequence[Sequence[TrainingExample]],
        reference: Reference,
        on_step: Callable[[StepLog], bool | None],
        log_values: LogValues,
        *,
        resume: bool,
        last_step: int | None,
    ) -> None:
        with self.computing():
            self.budget.fit_steps(self.model, known_steps(steps))
        on_main_process(lambda: checkpoint.remove_partial(self.checkpoints))
        done = self._resume() if resume else 0
        self.budget.apply(self.model)
        self.model.train()
        termination.defer()
        self._timer.restart()
        for number in range(done + 1, (last_step or len(steps)) + 1):
            start, examples = time.perf_counter(), steps[number - 1]
            losses = self._losses_within_memory(number, examples, reference)
            grad_norm = self.parallel_model.grad_norm()
            values = self._finite_values(number, examples, losses, grad_norm)
            if number - 1 > done and self._timer.is_due(number - 1):
                # Only now: the finite losses show that the previous step has left good weights.
                self._save(number - 1)
            self._writer.check()
            lr = self._update(number, grad_norm)
            log = self._log(number, examples, values, lr=lr, start=start)
            self.objective = with_next_coeff(self.objective, values.retain, self.config)
            ends = on_step(log)
            log_values({name: value for name, value in log.to_json().items() if name != "step"}, number)
            if ends:
                break
            end_if_requested(number, len(steps), self.model, self._save_completely)
        self._writer.wait()

    def _save(self, step: int) -> None:
        """Begin to write a checkpoint; `self._writer.wait()` waits until it is complete."""
        bounded = self.config.retain_bound is not None
        coeff = self.objective.retain_coeff if bounded else None
        state = TrainerState(step=step, token_budget=self.budget.state_dict(), retain_coeff=coeff)
        self._writer.start(self.parallel_model.checkpoint_files(), state)
        self._timer.restart()

    def _save_completely(self, step: int) -> None:
        self._save(step)
        self._writer.wait()
        distributed.barrier()  # the end of one process may end the main one, which completes the checkpoint

    def _resume(self) -> int:
        """Load the last checkpoint; returns the number of steps that it has done."""
        done = 0
        if (found := from_main_process(lambda: checkpoint.latest(self.checkpoints))) is not None:
            state = checkpoint.load(self.parallel_model, found[1], last_step=self.schedule.steps)
            self.budget.load_state_dict(state.token_budget)
            self.scheduler = self._make_scheduler(steps_done=state.step)
            if state.retain_coeff is not None:
                self.objective = replace(self.objective, retain_coeff=state.retain_coeff)
            done = state.step
        if (reduced := self.checkpoints / REDUCED_BUDGET).is_file():
            self.budget.load_state_dict(json.loads(reduced.read_text(encoding="utf-8")))
        return done

    def _make_scheduler(self, *, steps_done: int) -> LambdaLR:
        """Linear warm-up and decay of the learning rate, from the step after `steps_done` on."""
        return LambdaLR(self.optimizer, self.schedule.lr_factor, last_epoch=steps_done - 1)

    def _losses_within_memory(self, number: int, examples: Sequence[TrainingExample], reference: Reference) -> Losses:
        """Losses and gradients of the step; where the GPU's memory runs out, again in smaller micro-batches."""
        while True:
            self.optimizer.zero_grad()
            # From the step alone, not from what ran before, such as a resume. Processes draw different masks.
            self._seed(f"{number}/dropout" + (f"/{distributed.rank()}" if distributed.rank() else ""))
            try:
                compute = partial(self._losses, examples, reference)
                return sam_losses(compute, self.objective, self.parallel_model, rho=self.config.sam.rho)
            except torch.OutOfMemoryError:
                if not self.budget.shrink(examples):
                    raise out_of_memory("one example") from None
            if distributed.world_size() > 1:
                stop_with_reduced_budget(self.checkpoints, self.budget)
            self.budget.apply(self.model)
            torch.cuda.empty_cache()

    def _losses(self, examples: Sequence[TrainingExample], reference: Reference, objective: Objective) -> Losses:
        with self.computing(), replaced(self._kernels):  # with half-precision copies of the weights until it ends
            return batch_losses(
                self.model,
                objective,
                examples,
                reference,
                max_tokens_per_forward=self.budget.tokens,
                average_over=self.config.micro_batch_size,
                backward=self.parallel_model.backward,
                parallel_model=self.parallel_model,
            )

    def _seed(self, purpose: str) -> None:
        """Make torch's next draws on this device depend on the run's seed and the purpose alone."""
        seed = random.Random(f"{self.seed}/{purpose}").getrandbits(63)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed formats a stack trace for devices that are absent
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _finite_values(
        self, number: int, examples: Sequence[TrainingExample], losses: Losses, grad_norm: Tensor
    ) -> _StepValues:
        """The step's losses and gradient norm as numbers; an `EffaceError` where one is not finite.

        The one point in a step where the CPU waits for the GPU: while it updates the weights, the next batch is packed.
        """
        values = _StepValues(*torch.stack([losses.forget, losses.retain, grad_norm]).tolist())
        if all(map(math.isfinite, values)):
            return values
        self._writer.wait()
        ids = sorted({sequence.id for example in examples for sequence in example.values()})
        found = checkpoint.latest(self.checkpoints)
        saved = f"the checkpoint of step {found[0]} stays in {found[1]}" if found else "no checkpoint was written yet"
        raise EffaceError(
            f"step {number} of {self.schedule.steps}: {self.objective.name} is not finite (forget {values.forget:.4g}, "
            f"retain {values.retain:.4g}, gradient norm {values.grad_norm:.4g}); {saved}; lower train.lr, or check the "
            f"items: {', '.join(ids)}"
        )

    def _update(self, number: int, grad_norm: Tensor) -> float:
        """Make the optimizer's step; returns its learning rate."""
        lr = float(self.scheduler.get_last_lr()[0])
        # Stochastic rounding of 8-bit AdamW: the same in a resumed run, and in all processes.
        self._seed(f"{number}/rounding")
        try:
            self.parallel_model.step(grad_norm, max_grad_norm=self.config.max_grad_norm)
        except torch.OutOfMemoryError:
            raise out_of_memory("the optimizer's state") from None
        self.scheduler.step()
        return lr

    def _log(
        self, number: int, examples: Sequence[TrainingExample], values: _StepValues, *, lr: float, start: float
    ) -> StepLog:
        return StepLog(
            step=number,
            steps=self.schedule.steps,
            loss=self.objective.forget_coeff * values.forget + self.objective.retain_coeff * values.retain,
            forget=values.forget,
            retain=values.retain,
            grad_norm=values.grad_norm,
            lr=lr,
            tokens=sum(map(count_tokens, examples)),
            seconds=time.perf_counter() - start,
            retain_coeff=None if self.config.retain_bound is None else self.objective.retain_coeff,
        )
