"""Listening to a run."""

from __future__ import annotations


class Told:
    """A reporter that remembers."""

    def __init__(self):
        self.stages, self.warnings = [], []

    def on_stage(self, text):
        self.stages.append(text)

    def on_warning(self, text):
        self.warnings.append(text)

    def on_step(self, log):
        pass

    def on_progress(self, what, done, total):
        pass
