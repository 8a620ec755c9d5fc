"""Measure a few optimizer steps and questions of a run, in a temporary folder."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import psutil
import torch

from efface.config.commands import RunConfig
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import encode_questions
from efface.evaluation.generate import generate, length_batches, resolve_max_cache_tokens, supports_left_padding
from efface.evaluation.likelihoods import likelihoods
from efface.hardware.device import peak_memory, reset_peak_memory
from efface.models.load_parallel import load_reference, load_to_train
from efface.models.open import OpenedModel
from efface.objectives.terms import Objective, Reference
from efface.packing.forward import device_of
from efface.packing.padded_rows import input_length
from efface.preflight.diagnosis import MeasuredCosts, MeasuredQuestions, MeasuredSteps, Times
from efface.preflight.forecast import uses_live_reference
from efface.preflight.workload import Workload, total_tokens
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.folder import RunFolder
from efface.run.model_answers import max_answer_tokens
from efface.run.preparation.prepare import PreparedRun, prepare
from efface.run.preparation.reference_model import make_reference
from efface.run.training import train
from efface.schema import Prompt, Task
from efface.train.batches.lazy_steps import known_steps
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.schedule import count_earlier_epochs
from efface.train.loop import Trainer
from efface.train.step_log import StepLog

_QUESTIONS = 8
"""Number of questions whose likelihoods are measured."""
_BATCH_SIZES = (2, 16)
"""Sizes of the two batches from which the time of any batch is extrapolated."""
_NEW_TOKENS = 16
_SECONDS_BETWEEN_SAMPLES = 0.005


def measure(config: RunConfig, *, steps: int, data_dir: Path | None, reporter: Reporter) -> MeasuredCosts:
    """Evaluate a few questions and take a few optimizer steps, as the run would.

    Args:
        config: The run's settings.
        steps: Number of optimizer steps to measure after a warm-up step, those with the most tokens; at most those of
            the run, and at least one.
        data_dir: Folder of the benchmarks; None for the default one.
        reporter: Receives stages and warnings.

    Returns:
        What they took.

    Raises:
        EffaceError: As the run would until then.
    """
    with TemporaryDirectory(prefix="efface-") as folder:
        out = RunFolder(Path(folder))
        prepared, opened = prepare(
            config, out, data_dir=data_dir, reporter=reporter, resume=False, placeholder_answers=True
        )
        questions = _measure_questions(opened, prepared.task, config.evaluate, reporter)
        del opened
        gc.collect()
        torch.cuda.empty_cache()
        count = max(1, min(steps, len(prepared.plan.steps) - 1))
        return MeasuredCosts(questions=questions, steps=_measure_steps(prepared, out, count, reporter))


def extrapolate(measured: MeasuredCosts, workload: Workload, config: RunConfig, objective: Objective) -> Times:
    """How long the whole run will take.

    Args:
        measured: What a part of it took.
        workload: The sequences of the whole run.
        config: The run's settings.
        objective: The method's terms.

    Returns:
        Times in seconds.
    """
    questions, steps = measured.questions, measured.steps
    live = objective.needs_distribution and uses_live_reference(config)
    cached = () if live else (view for view, _ in objective.distribution_reference_views)
    views = {*objective.sequence_reference_views, *cached}
    compared = {
        example[view].key: input_length(example[view]) for step in workload.steps for example in step for view in views
    }
    second_copy = live and config.train.lora is None
    other_reference = config.reference is not None and bool(views or live)
    loads = 2 if second_copy or other_reference else 1
    reference = sum(compared.values()) / questions.tokens_per_second
    training = sum(map(total_tokens, workload.steps)) / steps.tokens_per_second
    likelihoods = sum(workload.answers) / questions.tokens_per_second
    outputs = _generation_seconds(questions, workload.prompts, config.evaluate.max_new_tokens)
    return Times(
        answers=_generation_seconds(questions, workload.generic, max_answer_tokens(config.evaluate)),
        unlearning=loads * steps.loading + reference + training,
        evaluation=steps.loading + likelihoods + outputs,
        evaluations=2 + (count_earlier_epochs(workload.plan, config.train) if config.scores_epochs else 0),
    )


def _generation_seconds(questions: MeasuredQuestions, prompts: Sequence[int], max_new_tokens: int) -> float:
    """Seconds until every prompt has an output with all its new tokens."""
    seconds = 0.0
    for rows in length_batches(prompts, max_new_tokens, questions.max_cache_tokens, padded=questions.padded):
        prefill = len(rows) * prompts[rows[0]] / questions.tokens_per_second
        seconds += prefill + max_new_tokens * (questions.decoding + len(rows) * questions.decoding_row)
    return seconds


def _measure_questions(
    opened: OpenedModel, task: Task, config: EvaluateConfig, reporter: Reporter
) -> MeasuredQuestions:
    """Compute likelihoods and outputs of the model before unlearning."""
    reporter.on_stage("measuring likelihoods and outputs of a few questions")
    items = [item for each in task.evaluation for item in each.items[: config.limit]]
    items.sort(key=lambda item: -len(item.question))
    sample = items[:: -(-len(items) // _QUESTIONS)]
    encoded = encode_questions(opened.formatter, sample)
    tokens = sum(len(answer) for question in encoded for answer in question.answers)
    smaller, larger = _BATCH_SIZES
    if device_of(opened.model).type == "cuda":  # the first calls load kernels and allocate
        likelihoods(opened.model, encoded, max_tokens_per_forward=config.max_tokens_per_forward)
        _decoding_seconds(opened, items[0].prompt, smaller, math.inf, config.max_new_tokens)
    start = time.perf_counter()
    likelihoods(opened.model, encoded, max_tokens_per_forward=config.max_tokens_per_forward)
    speed = tokens / (time.perf_counter() - start)
    fast, slow = (
        _decoding_seconds(opened, items[0].prompt, size, speed, config.max_new_tokens) for size in _BATCH_SIZES
    )
    row = max(slow - fast, 0.0) / (larger - smaller)
    return MeasuredQuestions(
        tokens_per_second=speed,
        decoding=max(fast - smaller * row, 0.0),
        decoding_row=row,
        padded=supports_left_padding(opened.model),
        max_cache_tokens=resolve_max_cache_tokens(opened.model, config.max_cache_tokens),
    )


def _decoding_seconds(opened: OpenedModel, prompt: Prompt, batch_size: int, speed: float, max_new_tokens: int) -> float:
    """Seconds per generated token of each output, in a batch of copies of one prompt.

    `speed`: tokens per second at which prompts are read.
    """
    [ids] = opened.formatter.encode_prompts([prompt])
    max_new_tokens = min(_NEW_TOKENS, max_new_tokens)
    start = time.perf_counter()
    outputs = generate(
        opened.model,
        opened.formatter,
        [prompt] * batch_size,
        max_new_tokens=max_new_tokens,
        max_cache_tokens=batch_size * (len(ids) + max_new_tokens),
    )
    seconds = time.perf_counter() - start
    generated = min(len(outputs[0].token_ids) + 1, max_new_tokens)  # the stop token is generated, too
    return max(seconds - batch_size * len(ids) / speed, seconds / 10) / generated


def _measure_steps(prepared: PreparedRun, folder: RunFolder, steps: int, reporter: Reporter) -> MeasuredSteps:
    """Train on the batches with the most tokens."""
    reporter.on_stage(f"measuring steps: one to warm up, then {steps}")
    plan, device = prepared.plan, prepared.device
    config, log = plan.config, _StepLogs()

    def reference(trainer: Trainer) -> Reference:
        return make_reference(
            trainer,
            batches,
            folder,
            model_sha256=prepared.manifest.model_sha256,
            load=lambda: load_reference(plan.source, config, device),
        )

    batches = _largest_batches(plan.steps, 1 + steps)
    with _PeakMemory(device) as peak:
        start = time.perf_counter()
        loaded = load_to_train(plan.source, config, device)
        loading = time.perf_counter() - start
        train(
            loaded,
            plan.objective,
            batches,
            config.model_copy(update={"save_steps": len(batches) + 1, "tracker": None}),
            plan.schedule,
            seed=plan.seed,
            folder=folder,
            device=device,
            reference=reference,
            resume=False,
            reporter=log,
        )
    first, *others = log.steps
    return MeasuredSteps(
        loading=loading,
        first=first.seconds,
        count=len(others),
        tokens_per_second=sum(step.tokens for step in others) / sum(step.seconds for step in others),
        memory=peak.bytes,
    )


def _largest_batches(steps: Sequence[Sequence[TrainingExample]], count: int) -> list[Sequence[TrainingExample]]:
    """The `count` batches with the most tokens, largest first, so that memory peaks as in the run; repeated if fewer.

    Of a long training, those of its first steps.
    """
    largest = sorted(known_steps(steps), key=total_tokens, reverse=True)
    return [largest[index % len(largest)] for index in range(count)]


class _StepLogs(SilentReporter):
    """A reporter that collects the optimizer steps."""

    def __init__(self) -> None:
        self.steps: list[StepLog] = []

    def on_step(self, log: StepLog) -> None:
        self.steps.append(log)


class _PeakMemory(AbstractContextManager["_PeakMemory"]):
    """Peak memory inside the block, in bytes: a GPU's tensors, or by how much this process grows."""

    def __init__(self, device: torch.device) -> None:
        self.bytes = 0
        self._device, self._stop = device, Event()
        self._thread = Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _PeakMemory:
        reset_peak_memory(self._device)
        if self._device.type == "cpu":
            self._process = psutil.Process(os.getpid())
            self._before = self._process.memory_info().rss
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cpu":
            self._stop.set()
            self._thread.join()
        self.bytes = peak_memory(self._device) or self.bytes

    def _sample(self) -> None:
        ended = False
        while not ended:
            ended = self._stop.wait(_SECONDS_BETWEEN_SAMPLES)  # once more at the end
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)
