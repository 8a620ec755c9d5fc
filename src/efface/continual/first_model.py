"""Scores and records of the model before all requests, with which every request is compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import torch

from efface.artifacts import Downstream
from efface.config.commands import RunConfig
from efface.continual.folder import QueueFolder
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.evaluate import evaluate
from efface.evaluation.journal import remove_journal
from efface.evaluation.judging.judges import open_judges
from efface.main_process import from_main_process, on_main_process
from efface.models.open import OpenedModel
from efface.progress.reporter import Reporter
from efface.records import Record, RecordSets
from efface.run.downstream_stages import score_model
from efface.run.evaluation_stages import open_journal
from efface.run.metadata.metadata import RunMetadata
from efface.schema import EvaluationSet, Item, Task
from efface.scores.sets import FORGET, is_forgotten


def first_downstream(
    opened: OpenedModel, config: RunConfig, folder: QueueFolder, *, metadata: RunMetadata, reporter: Reporter
) -> Downstream | None:
    """The first model's scores on downstream tasks, from disk or made now; the queue is then started.

    To be called before its records are made: a data set that is not available is then refused before anything is
    written.

    Args:
        opened: The model before all requests.
        config: The queue's settings.
        folder: The queue's folder.
        metadata: Gets the time that it takes.
        reporter: Gets the stage and its progress.

    Returns:
        The scores; None without downstream tasks.

    Raises:
        EffaceError: A task cannot be scored, or a file cannot be written.
    """
    if config.downstream is None:
        return None
    if known := folder.read_downstream("before"):
        return known
    reporter.on_stage("scoring downstream tasks before the requests")
    with metadata.stage("downstream before"):
        scores = score_model(
            opened.model, opened.tokenizer, config.downstream, text=config.text, seed=config.seed, reporter=reporter
        )
    metadata.start()
    folder.write_downstream("before", scores)
    return scores


def first_records(
    opened: OpenedModel,
    tasks: Sequence[Task],
    config: EvaluateConfig,
    folder: QueueFolder,
    *,
    device: torch.device,
    metadata: RunMetadata,
    reporter: Reporter,
) -> RecordSets:
    """The first model's records; those on disk are read, and only missing questions are evaluated.

    Args:
        opened: The model before all requests.
        tasks: The data of each request, in order.
        config: How to evaluate.
        folder: The queue's folder.
        device: Where the judges run.
        metadata: Gets the time that it takes.
        reporter: Gets the stage and its progress.

    Returns:
        Of each set that is not to be forgotten, all questions that any request scores; and the forget set of each
        request as `forgotten-1` and so on. The main process alone has records.

    Raises:
        EffaceError: A question leaves no space for an output, or a file cannot be written.
    """
    known = on_main_process(folder.records_before) or {}
    all_sets = _all_sets(tasks, config.limit)
    asked = from_main_process(lambda: {name: {record.id for record in records} for name, records in known.items()})
    missing = [each for each in (_without(each, asked.get(each.name, set())) for each in all_sets) if each.items]
    if not missing:
        remove_journal(folder.evaluating("before"))
        return known
    with metadata.stage("evaluate before"):
        reporter.on_stage("evaluating before the requests")
        judges = open_judges(config, device, missing)
        journal = open_journal(
            folder.evaluating("before"), opened.sha256, config, device=device, dtype=opened.model.dtype
        )
        for each in missing:  # one at a time: its last digits then do not depend on the other requests
            made = opened.parallel_model.forward_in_step(
                partial(
                    evaluate,
                    formatter=opened.formatter,
                    sets=[each],
                    config=config.model_copy(update={"limit": None}),  # `_all_sets` has applied it
                    judges=judges,
                    before=None,
                    progress=reporter.on_progress,
                    journal=journal,
                )
            )
            known = {**known, each.name: [*known.get(each.name, ()), *made.get(each.name, ())]}
            folder.write_records("before", known)
        journal.remove()
    return known


def request_records(task: Task, first: Mapping[str, Sequence[Record]], limit: int | None) -> RecordSets:
    """The first model's records for the sets of one request.

    Args:
        task: The data of the request.
        first: What `first_records` returned.
        limit: Most questions of a set.
    """
    number = sum(is_forgotten(each.name) for each in task.evaluation) + 1
    records: RecordSets = {}
    for each in task.evaluation:
        name = f"forgotten-{number}" if each.name == FORGET else each.name
        ids = {item.id for item in each.items[:limit]}
        records[each.name] = [
            record.model_copy(update={"set": each.name}) for record in first.get(name, ()) if record.id in ids
        ]
    return records


def _all_sets(tasks: Sequence[Task], limit: int | None) -> list[EvaluationSet]:
    forget_sets = [next(each for each in task.evaluation if each.name == FORGET) for task in tasks]
    return [
        *(_union(each, tasks, limit) for each in tasks[0].evaluation if each.name != FORGET),
        *(
            each.model_copy(update={"name": f"forgotten-{number}", "items": each.items[:limit]})
            for number, each in enumerate(forget_sets, 1)
        ),
    ]


def _union(retain_set: EvaluationSet, tasks: Sequence[Task], limit: int | None) -> EvaluationSet:
    """All items of a retain set that any request scores: where one forgets some, later items come under the limit."""
    items: dict[str, Item] = {}
    for task in tasks:
        for each in task.evaluation:
            if each.name == retain_set.name:
                items |= {item.id: item for item in each.items[:limit]}
    return retain_set.model_copy(update={"items": tuple(items.values())})


def _without(evaluation_set: EvaluationSet, ids: Collection[str]) -> EvaluationSet:
    return evaluation_set.model_copy(
        update={"items": tuple(item for item in evaluation_set.items if item.id not in ids)}
    )
