"""Downstream tasks within a run, and within a queue of requests: before unlearning and after."""

from __future__ import annotations

from typing import Any

from efface.artifacts import Downstream, DownstreamResults
from efface.config.commands import RunConfig
from efface.downstream.harness import score_downstream
from efface.evaluation.encode import encode_evaluation
from efface.folders import Stage
from efface.models.dtypes import evaluation_dtype
from efface.models.load import load_model
from efface.progress.reporter import Reporter
from efface.run.evaluation_stages import free_models
from efface.run.prepare import Prepared


def downstream_before(this: Prepared, given: Downstream | None) -> Downstream | None:
    """The scores of the model before unlearning: those on disk, those given, or made now; None if not asked for.

    To be called before its records are made: data sets that cannot be had are then refused before anything is written.
    """
    if this.config.downstream is None:
        return None
    if known := _known(this, "before"):
        return known
    if given is None:
        encode_evaluation(this.original, this.formatter, this.task.evaluation, this.config.evaluate)
        with this.stage("downstream before", "scoring downstream tasks before unlearning"):
            given = score_model(this.original, this.tokenizer, this.config, this.reporter)
    this.start()
    this.out.write_downstream("before", given)
    return given


def downstream_results(this: Prepared, before: Downstream | None) -> DownstreamResults | None:
    """`before` beside the scores of the model as it lies in the run's folder: those on disk, or made now."""
    if before is None:
        return None
    after = _known(this, "after")
    if after is None:
        dtype = evaluation_dtype(this.source, this.device, this.config.evaluate.precision)
        with this.stage("downstream after", "scoring downstream tasks after unlearning"):
            model = load_model(this.out.model, dtype=dtype, device=this.device)
            after = score_model(model, this.tokenizer, this.config, this.reporter)
            del model
            free_models()
        this.out.write_downstream("after", after)
    return DownstreamResults(before=before, after=after)


def _known(this: Prepared, stage: Stage) -> Downstream | None:
    known = this.out.read_downstream(stage)
    if known is not None:
        this.reporter.on_stage(f"scored downstream tasks {stage} unlearning already: {this.out.root}")
    return known


def score_model(model: Any, tokenizer: Any, config: RunConfig, reporter: Reporter) -> Downstream:
    """Score a model on the run's downstream tasks, which must be set."""
    assert config.downstream is not None
    return score_downstream(
        model, tokenizer, config.downstream, seed=config.seed, progress=reporter.on_progress, warn=reporter.on_warning
    )
