"""`evaluate.every: epoch`: the scores epoch by epoch, and the best one's model."""

from __future__ import annotations

from efface.artifacts import EpochScores, Trajectory
from efface.config.commands import RunConfig
from efface.config.plugins import custom_metrics
from efface.errors import EffaceError
from efface.evaluation.judges import Judges
from efface.run.epoch_snapshots import EpochSnapshots
from efface.run.evaluation_stages import Records, free_models, records_of_epoch
from efface.run.prepare import Prepared
from efface.schema import Task
from efface.scores import definition, score_records
from efface.scores.aggregate import best_index
from efface.scores.sets import RETAIN_SETS


def score_epochs(
    this: Prepared, snapshots: EpochSnapshots, judges: Judges, before: Records
) -> tuple[Trajectory, Records]:
    """Score the model of every epoch; leave that of the best one in the run's folder, where it was asked for.

    Returns the scores, and the records of the model that is left.
    """
    metrics, last = custom_metrics(this.config.plugins), snapshots.last
    # the last one first, while its model is the one in the run's folder
    order = dict.fromkeys((last, *snapshots.ends.values()))
    records = {epoch: records_of_epoch(this, judges, before, epoch) for epoch in order}
    scored = [
        EpochScores(epoch=epoch, step=step, scores=score_records(records[epoch], this.config.definition, metrics))
        for step, epoch in snapshots.ends.items()
    ]
    place = best_index([each.scores for each in scored])
    chosen = None if place is None else scored[place].epoch
    kept = chosen if chosen is not None and this.config.evaluate.select_epoch == "best" else last
    if kept != last and this.out.read_results() is None:  # of a complete run, it lies there already
        snapshots.rebuild(kept, this.out.model, tokenizer=this.tokenizer, device=this.device)
        free_models()
    this.out.write_records("after", records[kept])
    return Trajectory(epochs=scored, best=chosen, kept=kept), records[kept]


def check_best(config: RunConfig, task: Task | None) -> None:
    """Raise `EffaceError` where the best epoch is asked for, and the scores could not tell which it is.

    `task`: None where nothing is scored.
    """
    if config.evaluate.select_epoch == "last":
        return
    if task is None:
        raise EffaceError(
            "evaluate.select_epoch=best needs scores of every epoch; use efface run, or evaluate.select_epoch=last"
        )
    problem = None
    if not definition(config.definition).efficacy_metrics:
        problem = f"the definition {config.definition} has no forget efficacy"
    elif all(each.name not in RETAIN_SETS for each in task.evaluation):
        problem = f"{task.name} has no set to keep"
    if problem:
        raise EffaceError(
            f"evaluate.select_epoch=best compares model utility and forget efficacy, and {problem}; use evaluate.select_epoch=last"
        )
