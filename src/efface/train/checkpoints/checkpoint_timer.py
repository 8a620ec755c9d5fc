"""When a checkpoint is due."""

from __future__ import annotations

import time

from efface.main_process import from_main_process
from efface.train.config import TrainConfig


class CheckpointTimer:
    """After so many minutes or, if that is set, so many steps."""

    def __init__(self, config: TrainConfig) -> None:
        """Start.

        Args:
            config: Its `save_minutes` and `save_steps`.
        """
        self._seconds, self._steps = 60 * config.save_minutes, config.save_steps
        self.restart()

    def restart(self) -> None:
        """Count minutes from now on."""
        self._start = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is written after this step. Every process must call this; all get the same answer."""
        if self._steps is not None:
            return step % self._steps == 0
        return from_main_process(lambda: time.monotonic() - self._start >= self._seconds)
