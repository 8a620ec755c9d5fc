"""Hear what lm-evaluation-harness does while it scores a task: each answer, and what it says in its log alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from efface.errors import EffaceError

Progress = Callable[[str, int, int], None]
"""Told the task, how many of its questions are done, and of how many."""
Warn = Callable[[str], None]
"""Told in one sentence what deserves a warning."""


@contextmanager
def track_requests(lm: Any, name: str, tasks: Mapping[str, Any], progress: Progress, warn: Warn) -> Iterator[None]:
    """Tell how far a task is, refuse answers that are no numbers, and warn where prompts were cut.

    `lm`: the library's model; `tasks`: the tasks of the task or group `name`. Raises `EffaceError`.
    """
    cuts, log = _Cuts(logging.WARNING), logging.getLogger(lm.__module__)
    level, propagate = log.level, log.propagate
    log.addHandler(cuts)
    log.setLevel(logging.WARNING)
    log.propagate = False
    lm.set_cache_hook(_Answers(name, tasks, progress))
    try:
        yield
    finally:
        log.removeHandler(cuts)
        log.setLevel(level)
        log.propagate = propagate
    if cuts.found:
        warn(
            f"task {name}: the {lm.max_length} tokens that the model reads at once do not hold every prompt with its "
            "answer; such prompts lost their beginning"
        )


class _Cuts(logging.Handler):
    """Whether the library cut a prompt to what the model can read."""

    found = False

    def emit(self, record: logging.LogRecord) -> None:
        # these two functions of `HFLM` warn of nothing else
        self.found = self.found or record.funcName in ("_loglikelihood_tokens", "tok_batch_encode")


class _Answers:
    """Stands in for the library's cache of answers, which is told of each as it comes."""

    def __init__(self, name: str, tasks: Mapping[str, Any], progress: Progress) -> None:
        self.name, self.tasks, self.progress = name, tasks, progress
        self.done = 0

    def add_partial(self, kind: str, _request: Any, answer: Any) -> None:
        """`answer`: where `kind` is `loglikelihood`, a log-probability and whether it is the likeliest text's."""
        # of choices without a number, the library would take the first for the likeliest
        if kind == "loglikelihood" and math.isnan(answer[0]):
            raise EffaceError(
                f"task {self.name}: the model gives a log-probability that is not a number: its weights are damaged or "
                "overflow; load it in float32, or train with a lower learning rate"
            )
        self.done += 1
        self.progress(self.name, self.done * self._questions // self._requests, self._questions)

    @cached_property
    def _requests(self) -> int:
        """A question with four choices is four; known once the first answer is there."""
        return sum(instance.repeats for task in self.tasks.values() for instance in task.instances)

    @cached_property
    def _questions(self) -> int:
        return len({(name, instance.doc_id) for name, task in self.tasks.items() for instance in task.instances})
