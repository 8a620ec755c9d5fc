"""The training loop on accelerate: the same for unlearning and for fine-tuning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface.errors import EffaceError
from efface.objectives.terms import Objective, Reference
from efface.text.forward import unwrapped
from efface.train import checkpoint
from efface.train.config import TrainConfig
from efface.train.memory import token_budget
from efface.train.plan import Schedule
from efface.train.step import Example, Losses, batch_losses


@dataclass(frozen=True)
class StepLog:
    """One line of metrics.jsonl. Losses are unweighted except `loss`; gradients' norm is before clipping."""

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
    """Trains `model` in place. Everything that the run must repeat is in the arguments."""

    def __init__(
        self,
        model: Any,
        objective: Objective,
        config: TrainConfig,
        plan: Schedule,
        *,
        seed: int,
        folder: Path,
        device: str | None = None,
    ) -> None:
        """`folder`: where checkpoints and tracker files go. `device`: `cpu` to leave a GPU alone."""
        from accelerate import Accelerator
        from accelerate.utils import set_seed
        from transformers import get_linear_schedule_with_warmup

        set_seed(seed)
        cuda = torch.cuda.is_available() and device != "cpu"
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and cuda)
        self.accelerator = Accelerator(
            mixed_precision="bf16" if self.bf16 else "no",
            cpu=device == "cpu",
            log_with=config.tracker,
            project_dir=str(folder),
        )
        if self.accelerator.num_processes > 1:
            raise EffaceError("this version trains in one process; start efface without accelerate launch or torchrun")
        optimizer = torch.optim.AdamW(_decay_groups(model, config.weight_decay), lr=config.lr)
        warm = get_linear_schedule_with_warmup(optimizer, plan.warmup, plan.steps)
        self.model, self.optimizer, self.scheduler = self.accelerator.prepare(model, optimizer, warm)
        self.objective, self.config, self.plan = objective, config, plan
        self.checkpoints = folder / "checkpoints"
        if config.lora is not None:
            checkpoint.keep_trainable_only(self.accelerator)
        if config.gradient_checkpointing:
            unwrapped(model).gradient_checkpointing_enable({"use_reentrant": False})
            unwrapped(model).enable_input_require_grads()
        self.budget = config.token_budget or token_budget(
            model, self.accelerator.device, bytes_per_value=2 if self.bf16 else 4
        )
        if config.tracker is not None:
            self.accelerator.init_trackers("efface", config=config.model_dump(mode="json"))

    def run(
        self,
        steps: Sequence[Sequence[Example]],
        reference: Reference,
        *,
        resume: bool = False,
        on_step: Callable[[StepLog], None] | None = None,
    ) -> None:
        """Train on the examples of each step, from the last checkpoint if `resume`.

        Raises `EffaceError` when a loss or gradient is not finite: the weights are not updated, and the last
        checkpoint stays.
        """
        done = self._resume() if resume else 0
        every = self.config.checkpoint_every or self.plan.per_epoch
        self.model.train()
        for number in range(done + 1, len(steps) + 1):
            log = self._step(number, steps[number - 1], reference)
            if on_step is not None:
                on_step(log)
            self.accelerator.log({"loss": log.loss, "forget": log.forget, "retain": log.retain}, step=number)
            if number % every == 0 and number < len(steps):
                checkpoint.save(self.accelerator, self.checkpoints, number)
        self.accelerator.end_training()

    def _resume(self) -> int:
        found = checkpoint.latest(self.checkpoints)
        if found is None:
            return 0
        self.accelerator.load_state(str(found[1]))
        return found[0]

    def _step(self, number: int, examples: Sequence[Example], reference: Reference) -> StepLog:
        start = time.perf_counter()
        losses = self._losses_within_memory(examples, reference)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        objective = self.objective
        loss = objective.forget_coeff * losses.forget.item() + objective.retain_coeff * losses.retain.item()
        if not (math.isfinite(loss) and math.isfinite(norm.item())):
            raise EffaceError(self._not_finite(number, examples, losses, norm.item()))
        if self.config.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.config.max_grad_norm, norm)
        rate = self.scheduler.get_last_lr()[0]
        self.optimizer.step()
        self.scheduler.step()
        return StepLog(
            step=number,
            steps=self.plan.steps,
            loss=loss,
            forget=losses.forget.item(),
            retain=losses.retain.item(),
            grad_norm=norm.item(),
            lr=rate,
            tokens=sum(len(sequence) for example in examples for sequence in example.values()),
            seconds=time.perf_counter() - start,
        )

    def _losses_within_memory(self, examples: Sequence[Example], reference: Reference) -> Losses:
        """Losses and gradients of the step; where the GPU's memory runs out, again in smaller parts."""
        while True:
            self.optimizer.zero_grad()
            try:
                with self.accelerator.autocast():
                    return batch_losses(
                        self.model,
                        self.objective,
                        examples,
                        reference,
                        token_budget=self.budget,
                        backward=self.accelerator.backward,
                    )
            except torch.OutOfMemoryError:
                if self.budget <= max(len(sequence) for example in examples for sequence in example.values()):
                    raise EffaceError(
                        "the GPU's memory does not hold one example; set train.gradient_checkpointing=true, "
                        "train LoRA adapters (train.lora.r=8) or use a smaller model"
                    ) from None
                self.budget //= 2
            torch.cuda.empty_cache()

    def _not_finite(self, number: int, examples: Sequence[Example], losses: Losses, norm: float) -> str:
        ids = sorted({sequence.id for example in examples for sequence in example.values()})
        found = checkpoint.latest(self.checkpoints)
        kept = f"the checkpoint of step {found[0]} stays in {found[1]}" if found else "no checkpoint was written yet"
        return (
            f"step {number} of {self.plan.steps}: {self.objective.name} is not finite (forget "
            f"{losses.forget.item():.4g}, retain {losses.retain.item():.4g}, gradient norm {norm:.4g}); {kept}; "
            f"lower train.lr, or look at the items: {', '.join(ids)}"
        )


def _decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, biases and norms do not, as in transformers' trainer."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
