"""Listening to a run."""

from __future__ import annotations


class Told:
    """A reporter that remembers."""

    def __init__(self):
        self.stages, self.warnings = [], []

    def stage(self, text):
        self.stages.append(text)

    def warning(self, text):
        self.warnings.append(text)

    def step(self, log):
        pass

    def scored(self, what, done, total):
        pass
