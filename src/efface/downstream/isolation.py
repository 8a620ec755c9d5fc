"""lm-evaluation-harness as a guest in this process: silent, with a randomness of its own, the model as it was."""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

_TALKATIVE = ("lm_eval", "datasets", "huggingface_hub", "transformers", "evaluate")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep bars, prints and notes for developers of the library and of those below it from the terminal."""
    import datasets

    bars = not datasets.are_progress_bars_disabled()
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))  # the library gives its bars no other way to be silent
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
    """Let the library draw its bootstrap samples here: forks of a process with a GPU and threads may hang."""
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


def with_output(tell: Callable[..., None]) -> Callable[..., None]:
    """`tell`, to be called within `quiet` and heard all the same."""
    out, err = sys.stdout, sys.stderr

    def told(*arguments: Any) -> None:
        with redirect_stdout(out), redirect_stderr(err):
            tell(*arguments)

    return told


@contextmanager
def isolated_randomness(seed: int, model: Any) -> Iterator[None]:
    """Python's, numpy's and torch's global generators start at `seed`, and afterwards are as they were before."""
    import numpy as np
    import torch

    python, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


@contextmanager
def preserve_modes(model: Any) -> Iterator[None]:
    """Whatever switches the model to evaluation, each of its modules ends in the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
