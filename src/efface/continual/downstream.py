"""Downstream tasks of the model before all requests."""

from __future__ import annotations

from efface.artifacts import Downstream
from efface.continual.prepare import Queue
from efface.progress.reporter import Reporter
from efface.run.downstream_stages import score_model


def first_downstream(this: Queue, reporter: Reporter) -> Downstream | None:
    """The scores of the model before all requests: those on disk, or made now; None if not asked for.

    To be called before its records are made, as `downstream_before`.
    """
    if this.config.downstream is None:
        return None
    if known := this.folder.read_downstream("before"):
        return known
    reporter.on_stage("scoring downstream tasks before the requests")
    opened = this.open(reporter)
    with this.stage("downstream before"):
        scores = score_model(opened.model, opened.tokenizer, this.config, reporter)
        this.start()
    this.folder.write_downstream("before", scores)
    return scores
