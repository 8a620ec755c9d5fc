"""Track what lm-evaluation-harness does while it scores a task: each answer, and warnings that are only logged."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from efface.errors import EffaceError

Progress = Callable[[str, int, int], None]
"""Called with the task, how many of its questions are done, and how many there are."""
Warn = Callable[[str], None]
"""Called with one sentence for each warning."""


@contextmanager
def track_requests(lm: Any, name: str, tasks: Mapping[str, Any], progress: Progress, warn: Warn) -> Iterator[None]:
    """Report the progress of a task, refuse answers that are not numbers, and warn if prompts were truncated.

    Args:
        lm: The library's model.
        name: The task or group.
        tasks: Its tasks by name.
        progress: Called after each answer.
        warn: Called at the end if prompts were truncated.

    Raises:
        EffaceError: When the model gives a log-probability that is not a number.
    """
    truncation, log = _TruncationDetector(logging.WARNING), logging.getLogger(lm.__module__)
    level, propagate = log.level, log.propagate
    log.addHandler(truncation)
    log.setLevel(logging.WARNING)
    log.propagate = False
    lm.set_cache_hook(_AnswerHook(name, tasks, progress))
    try:
        yield
    finally:
        log.removeHandler(truncation)
        log.setLevel(level)
        log.propagate = propagate
    if truncation.detected:
        warn(
            f"task {name}: some prompts and answers are longer than the {lm.max_length} tokens that the model can read "
            "and were truncated at the beginning"
        )


class _TruncationDetector(logging.Handler):
    """Detects in the library's log whether it truncated a prompt."""

    detected = False

    def emit(self, record: logging.LogRecord) -> None:
        # these two functions of `HFLM` warn of nothing else
        self.detected = self.detected or record.funcName in ("_loglikelihood_tokens", "tok_batch_encode")


class _AnswerHook:
    """Replaces the library's cache hook, which is called with each answer."""

    def __init__(self, name: str, tasks: Mapping[str, Any], progress: Progress) -> None:
        self.name, self.tasks, self.progress = name, tasks, progress
        self.done = 0

    def add_partial(self, request_type: str, _request: Any, answer: Any) -> None:
        """Count one answer; of type `loglikelihood`, it is a log-probability and whether the text is the greedy one."""
        # if no choice has a number, the library would choose the first
        if request_type == "loglikelihood" and math.isnan(answer[0]):
            raise EffaceError(
                f"task {self.name}: the model gives a log-probability that is not a number: its weights are damaged or "
                "overflow; load it in float32, or train with a lower learning rate"
            )
        self.done += 1
        self.progress(self.name, self.done * self._questions // self._requests, self._questions)

    @cached_property
    def _requests(self) -> int:
        """A question with four choices has four; known after the first answer."""
        return sum(instance.repeats for task in self.tasks.values() for instance in task.instances)

    @cached_property
    def _questions(self) -> int:
        return len({(name, instance.doc_id) for name, task in self.tasks.items() for instance in task.instances})
