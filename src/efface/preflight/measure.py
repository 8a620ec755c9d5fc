"""A few steps and questions of a run, measured here. What they write goes with a temporary folder."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import psutil
import torch

from efface.config.commands import RunConfig
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.generate import generate, length_batches, resolve_max_cache_tokens, supports_left_padding
from efface.evaluation.likelihoods import answer_rows, likelihoods
from efface.hardware.device import peak_memory, reset_peak_memory
from efface.models.load import load_model
from efface.models.lora import quantization_config
from efface.models.open import OpenedModel
from efface.objectives.terms import Objective, Reference
from efface.preflight.diagnosis import Measured, MeasuredQuestions, MeasuredSteps, Times
from efface.preflight.forecast import uses_live_reference
from efface.preflight.workload import Workload, total_tokens
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.folder import RunFolder
from efface.run.model_answers import max_answer_tokens
from efface.run.prepare import PreparedRun, prepare
from efface.run.reference_model import make_reference
from efface.run.training import train
from efface.schema import Prompt, Task
from efface.train.loop import StepLog, Trainer
from efface.train.optimizer import weights_dtype
from efface.train.sampler import earlier_epochs
from efface.train.step import Example

_QUESTIONS = 8
"""Whose likelihoods are measured."""
_ROWS = (2, 16)
"""Of the two batches from which the time of any batch is made out."""
_NEW_TOKENS = 16
_SECONDS_BETWEEN_LOOKS = 0.005


def measure(config: RunConfig, *, steps: int, data_dir: Path | None, reporter: Reporter) -> Measured:
    """Take one optimizer step to warm up and then `steps`, those with the most tokens; ask a few questions before.

    A run of few steps is not measured for longer than it takes, but for one step after the first. Everything is done as
    in the run. Raises the `EffaceError`s that the run would raise until then.
    """
    with TemporaryDirectory(prefix="efface-") as folder:
        out = RunFolder(Path(folder))
        prepared, opened = prepare(
            config, out, data_dir=data_dir, reporter=reporter, resume=False, placeholder_answers=True
        )
        questions = _time_evaluation(opened, prepared.task, config.evaluate, reporter)
        del opened
        gc.collect()
        torch.cuda.empty_cache()
        count = max(1, min(steps, len(prepared.plan.steps) - 1))
        return Measured(questions=questions, steps=_train(prepared, out, count, reporter))


def extrapolated(measured: Measured, work: Workload, config: RunConfig, bound: Objective) -> Times:
    """What the whole run will take."""
    asked, trained = measured.questions, measured.steps
    live = bound.needs_distribution and uses_live_reference(config)
    cached = () if live else (view for view, _ in bound.distribution_reads)
    views = {*bound.sequence_reference_views, *cached}
    compared = {example[view].key: len(example[view]) for step in work.steps for example in step for view in views}
    again = live and config.train.lora is None
    another = config.reference is not None and bool(views or live)
    loads = 2 if again or another else 1
    reference = sum(compared.values()) / asked.tokens_per_second
    steps = sum(map(total_tokens, work.steps)) / trained.tokens_per_second
    likelihoods = sum(work.answers) / asked.tokens_per_second
    outputs = _time_generation(asked, work.prompts, config.evaluate.max_new_tokens)
    return Times(
        answers=_time_generation(asked, work.generic, max_answer_tokens(config.evaluate)),
        unlearning=loads * trained.loading + reference + steps,
        evaluation=trained.loading + likelihoods + outputs,
        evaluations=2 + (earlier_epochs(work.plan, config.train) if config.evaluate.every else 0),
    )


def _time_generation(asked: MeasuredQuestions, prompts: Sequence[int], max_new_tokens: int) -> float:
    """Seconds until every prompt has an output of all its new tokens."""
    seconds = 0.0
    for rows in length_batches(prompts, max_new_tokens, asked.max_cache_tokens, padded=asked.padded):
        read = len(rows) * prompts[rows[0]] / asked.tokens_per_second
        seconds += read + max_new_tokens * (asked.decoding + len(rows) * asked.decoding_row)
    return seconds


def _time_evaluation(opened: OpenedModel, task: Task, config: EvaluateConfig, reporter: Reporter) -> MeasuredQuestions:
    """Ask the model before unlearning."""
    reporter.on_stage("measuring likelihoods and outputs of a few questions")
    model, formatter = opened.model, opened.formatter
    items = [item for each in task.evaluation for item in each.items[: config.limit]]
    items.sort(key=lambda item: -len(item.question))
    spread = items[:: -(-len(items) // _QUESTIONS)]
    tokens = sum(len(each) for each in formatter.encode(answer_rows(spread)))
    start = time.perf_counter()
    likelihoods(model, formatter, spread, max_tokens_per_forward=config.max_tokens_per_forward)
    speed = tokens / (time.perf_counter() - start)
    fewer, more = _ROWS
    slow, slower = (_decode(opened, items[0].prompt, rows, speed, config) for rows in _ROWS)
    row = max(slower - slow, 0.0) / (more - fewer)
    return MeasuredQuestions(
        tokens_per_second=speed,
        decoding=max(slow - fewer * row, 0.0),
        decoding_row=row,
        padded=supports_left_padding(model),
        max_cache_tokens=resolve_max_cache_tokens(model, config.max_cache_tokens),
    )


def _decode(opened: OpenedModel, prompt: Prompt, rows: int, speed: float, config: EvaluateConfig) -> float:
    """Seconds in which a batch of one prompt over and over makes one token of each row.

    `speed`: tokens per second that are read before.
    """
    [ids] = opened.formatter.encode_prompts([prompt])
    max_new_tokens = min(_NEW_TOKENS, config.max_new_tokens)
    whole = rows * (len(ids) + max_new_tokens)
    start = time.perf_counter()
    said = generate(
        opened.model, opened.formatter, [prompt] * rows, max_new_tokens=max_new_tokens, max_cache_tokens=whole
    )
    seconds = time.perf_counter() - start
    made = min(len(said[0].token_ids) + 1, max_new_tokens)  # the stop is generated, too
    return max(seconds - rows * len(ids) / speed, seconds / 10) / made


def _train(prepared: PreparedRun, folder: RunFolder, steps: int, reporter: Reporter) -> MeasuredSteps:
    """Train on the batches with the most tokens."""
    reporter.on_stage(f"measuring steps: one to warm up, then {steps}")
    plan, device = prepared.plan, prepared.device
    config, done = plan.config, _Steps()
    dtype, rounding = weights_dtype(config, device.type), quantization_config(config, device)

    def load() -> Any:
        return load_model(plan.source, dtype=dtype, device=device, quantization=rounding)

    def reference(trainer: Trainer) -> Reference:
        return make_reference(trainer, chosen, folder, model_sha256=prepared.manifest.model_sha256, load=load)

    chosen = _heaviest(plan.steps, 1 + steps)
    with _PeakMemory(device) as peak:
        start = time.perf_counter()
        model = load()
        loading = time.perf_counter() - start
        train(
            model,
            plan.objective,
            chosen,
            config.model_copy(update={"save_steps": len(chosen) + 1, "tracker": None}),
            plan.schedule,
            seed=plan.seed,
            folder=folder,
            device=device,
            reference=reference,
            resume=False,
            reporter=done,
        )
    first, *others = done.logs
    return MeasuredSteps(
        loading=loading,
        first=first.seconds,
        count=len(others),
        tokens_per_second=sum(log.tokens for log in others) / sum(log.seconds for log in others),
        memory=peak.bytes,
    )


def _heaviest(steps: Sequence[list[Example]], count: int) -> list[list[Example]]:
    """So many steps, the largest first: memory is to peak as in the run. A shorter run starts over."""
    largest = sorted(steps, key=total_tokens, reverse=True)
    return [largest[number % len(largest)] for number in range(count)]


class _Steps(SilentReporter):
    """Remembers the steps."""

    def __init__(self) -> None:
        self.logs: list[StepLog] = []

    def on_step(self, log: StepLog) -> None:
        self.logs.append(log)


class _PeakMemory(AbstractContextManager["_PeakMemory"]):
    """Most memory inside of the block: a GPU's tensors, or how far this process grows."""

    def __init__(self, device: torch.device) -> None:
        self.bytes = 0
        self._device, self._stop = device, Event()
        self._watch = Thread(target=self._look, daemon=True)

    def __enter__(self) -> _PeakMemory:
        reset_peak_memory(self._device)
        if self._device.type == "cpu":
            self._process = psutil.Process(os.getpid())
            self._before = self._process.memory_info().rss
            self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cpu":
            self._stop.set()
            self._watch.join()
        self.bytes = peak_memory(self._device) or self.bytes

    def _look(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN_LOOKS):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)
