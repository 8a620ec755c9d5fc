"""Isolate lm-evaluation-harness: no output, separate random generators, module modes restored."""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

_NOISY = ("lm_eval", "datasets", "huggingface_hub", "transformers", "evaluate")


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress progress bars, prints and log messages of the library and of its dependencies."""
    import datasets

    bars = not datasets.are_progress_bars_disabled()
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    with ExitStack() as stack:
        devnull = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(devnull))
        stack.enter_context(redirect_stderr(devnull))  # the only way to disable all bars of the library
        stack.enter_context(_in_one_process())
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        datasets.disable_progress_bars()
        try:
            yield
        finally:
            if bars:
                datasets.enable_progress_bars()
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _in_one_process() -> Iterator[None]:
    """Make the library draw bootstrap samples in this process: forks of a process with a GPU and threads may hang."""
    name = "DISABLE_MULTIPROC"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def with_output(callback: Callable[..., None]) -> Callable[..., None]:
    """Let a callback write to the terminal although it is called within `quiet`.

    Args:
        callback: The callback; this function itself must be called outside `quiet`.

    Returns:
        The callback to call within `quiet`.
    """
    out, err = sys.stdout, sys.stderr

    def call(*arguments: Any) -> None:
        with redirect_stdout(out), redirect_stderr(err):
            callback(*arguments)

    return call


@contextmanager
def isolated_randomness(seed: int, model: Any) -> Iterator[None]:
    """Seed the global random generators of Python, numpy and torch, and restore their states afterwards.

    Args:
        seed: The seed.
        model: A model; the generator of its GPU is included.
    """
    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@contextmanager
def preserve_modes(model: Any) -> Iterator[None]:
    """Restore the training or evaluation mode of each module of the model."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
