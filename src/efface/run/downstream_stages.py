"""Downstream tasks within a run, before unlearning and after: read from disk, or scored now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from efface.artifacts import Downstream, DownstreamResults
from efface.downstream.config import DownstreamConfig
from efface.downstream.harness import score_downstream
from efface.files.folders import Stage
from efface.models.load import load_model
from efface.progress.reporter import Reporter
from efface.run.evaluation_stages import free_models
from efface.run.folder import RunFolder
from efface.run.metadata.metadata import RunMetadata
from efface.text.config import TemplateConfig


@dataclass(frozen=True)
class DownstreamStages:
    """Scores the models of one run on the same tasks; a stage whose scores are on disk is skipped."""

    folder: RunFolder
    config: DownstreamConfig
    seed: int
    text: TemplateConfig
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    """In which the unlearned model is loaded."""
    metadata: RunMetadata
    reporter: Reporter

    def before(self, model: Any, given: Downstream | None) -> Downstream:
        """The scores of the model before unlearning; the run is then started.

        To be called before its records are made: a data set that is not available is then refused before anything is
        written.

        Args:
            model: The model before unlearning.
            given: Its scores, where they were already made elsewhere.

        Raises:
            EffaceError: A task cannot be scored, or a file cannot be written.
        """
        known = self._read("before")
        if known is not None:
            return known
        if given is None:
            self.reporter.on_stage("scoring downstream tasks before unlearning")
            with self.metadata.stage("downstream before"):
                given = self._score(model)
        self.metadata.start()
        self.folder.write_downstream("before", given)
        return given

    def results(self, before: Downstream) -> DownstreamResults:
        """`before` with the scores of the unlearned model in the run's folder.

        Args:
            before: The scores of the model before unlearning.

        Raises:
            EffaceError: A task cannot be scored, or a file cannot be written.
        """
        after = self._read("after")
        if after is None:
            self.reporter.on_stage("scoring downstream tasks after unlearning")
            with self.metadata.stage("downstream after"):
                model = load_model(self.folder.model, dtype=self.dtype, device=self.device)
                after = self._score(model)
                del model
                free_models()
            self.folder.write_downstream("after", after)
        return DownstreamResults(before=before, after=after)

    def _read(self, stage: Stage) -> Downstream | None:
        known = self.folder.read_downstream(stage)
        if known is not None:
            self.reporter.on_stage(f"scored downstream tasks {stage} unlearning already: {self.folder.root}")
        return known

    def _score(self, model: Any) -> Downstream:
        return score_model(model, self.tokenizer, self.config, text=self.text, seed=self.seed, reporter=self.reporter)


def score_model(
    model: Any, tokenizer: Any, config: DownstreamConfig, *, text: TemplateConfig, seed: int, reporter: Reporter
) -> Downstream:
    """Score a model on downstream tasks, with progress and warnings sent to a reporter.

    Args:
        model: In evaluation mode, on its device.
        tokenizer: The model's.
        config: The tasks, and how to ask them.
        text: The system turn and the date of the chat template.
        seed: Of the examples before each question.
        reporter: Gets progress and warnings.

    Raises:
        EffaceError: A task or its data cannot be used.
    """
    return score_downstream(
        model, tokenizer, config, seed=seed, text=text, progress=reporter.on_progress, warn=reporter.on_warning
    )
