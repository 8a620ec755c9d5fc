"""Measurements in processes of their own: one's peak memory would hide the next one's."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from efface.train.micro_batches import TrainingExample
from measure import Contender, Measured, Setting, measure

T = TypeVar("T")


def alone(function: Callable[..., T], *arguments: object) -> T | str:
    """The result of a call in a fresh process; a sentence where the machine has too little memory for it."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except torch.OutOfMemoryError:
            return "does not fit into the device's memory"
        except BrokenProcessPool:
            return "the process was killed, most likely for want of memory"


def measure_alone(contender: Contender, setting: Setting, examples: Sequence[TrainingExample]) -> Measured | str:
    """One contender's step, measured alone."""
    return alone(measure, contender, setting, examples)
