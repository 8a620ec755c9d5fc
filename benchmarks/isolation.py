"""Measurements in separate processes, since peak memory is per process and never decreases."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from efface.train.batches.micro_batches import TrainingExample
from measure import Contender, Measured, Setting, measure

T = TypeVar("T")


def run_in_subprocess(function: Callable[..., T], *arguments: object) -> T | str:
    """Call `function` in a new process.

    Returns:
        Its result, or a sentence if the machine has too little memory for it.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except torch.OutOfMemoryError:
            return "does not fit into the device's memory"
        except BrokenProcessPool:
            return "the process was killed, most likely because memory ran out"


def measure_in_subprocess(
    contender: Contender, setting: Setting, examples: Sequence[TrainingExample]
) -> Measured | str:
    """Measure the step of one contender in a new process."""
    return run_in_subprocess(measure, contender, setting, examples)
