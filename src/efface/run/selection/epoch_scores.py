"""`evaluate.every: epoch`: the scores after each epoch, and the model of the best one."""

from __future__ import annotations

from collections.abc import Sequence

from efface.artifacts import EpochScores, Trajectory
from efface.config.commands import RunConfig
from efface.errors import EffaceError
from efface.main_process import from_main_process
from efface.records import RecordSets
from efface.run.evaluation_stages import EvaluationStages, free_models
from efface.run.selection.epoch_snapshots import EpochSnapshots
from efface.schema import Task
from efface.scores import definition, score_records
from efface.scores.aggregate import best_index
from efface.scores.custom import RecordMetric
from efface.scores.sets import RETAIN_SETS


def score_epochs(
    evaluation: EvaluationStages,
    snapshots: EpochSnapshots,
    before: RecordSets,
    definition_name: str,
    metrics: Sequence[RecordMetric] = (),
) -> tuple[Trajectory, RecordSets]:
    """Score the model of every epoch; with `evaluate.select_epoch=best`, leave the best one in the run's folder.

    Args:
        evaluation: Evaluates the models.
        snapshots: The weights at the end of each epoch but the last.
        before: The records of the model before unlearning.
        definition_name: Name of the scores' definition.
        metrics: Custom metrics.

    Returns:
        The scores, and the records of the model that is left, which the main process alone has.

    Raises:
        EffaceError: The weights of an epoch are missing, a custom metric fails, or a file cannot be written.
    """
    # the last epoch first, while its model is the one in the run's folder
    order = dict.fromkeys((snapshots.last, *snapshots.epoch_ends.values()))
    records = {epoch: evaluation.after_epoch(epoch, before, snapshots) for epoch in order}
    select_last = evaluation.config.select_epoch == "last"

    def select() -> Trajectory:
        scored = [
            EpochScores(epoch=epoch, step=step, scores=score_records(records[epoch], definition_name, metrics))
            for step, epoch in snapshots.epoch_ends.items()
        ]
        index = best_index([each.scores for each in scored])
        best = None if index is None else scored[index].epoch
        return Trajectory(epochs=scored, best=best, kept=snapshots.last if select_last or best is None else best)

    trajectory = from_main_process(select)
    kept, folder = trajectory.kept, evaluation.folder
    if kept != snapshots.last and folder.read_results() is None:  # a complete run has that model already
        snapshots.rebuild(kept, folder.model)
        free_models()
    folder.write_records("after", records[kept])
    return trajectory, records[kept]


def check_epoch_selection(config: RunConfig, task: Task | None) -> None:
    """Check that `evaluate.select_epoch=best` has the scores that it compares.

    Args:
        config: The run's settings.
        task: The run's data; None where nothing is scored.

    Raises:
        EffaceError: The best epoch is to be selected, and model utility or forget efficacy is not available.
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
        problem = f"{task.name} has no retain set"
    if problem:
        raise EffaceError(
            f"evaluate.select_epoch=best compares model utility and forget efficacy, and {problem}; "
            "use evaluate.select_epoch=last"
        )
