"""What the model before all requests said: what each request is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from efface.artifacts import Record
from efface.continual.prepare import Queue
from efface.evaluation.evaluate import evaluate
from efface.evaluation.judges import open_judges
from efface.progress.reporter import Reporter
from efface.run.evaluation_stages import free_models
from efface.schema import EvaluationSet, Item, Task
from efface.scores.sets import FORGET, is_forgotten

Records = dict[str, list[Record]]


def first_records(this: Queue, reporter: Reporter) -> Records:
    """The first model's records, from disk as far as they are there.

    Sets: those to keep with all questions that a request scores, and what each request asks to forget as
    `forgotten-1` and so on.
    """
    known = this.folder.records_before()
    missing = [_without(each, known.get(each.name, ())) for each in _sets(this.tasks, this.config.evaluate.limit)]
    missing = [each for each in missing if each.items]
    if missing:
        with this.stage("evaluate before"):
            reporter.on_stage("evaluating before the requests")
            known = _evaluate(this, missing, known, reporter)
    this.opened = None
    free_models()
    return known


def records_for(task: Task, first: Mapping[str, Sequence[Record]], limit: int | None) -> Records:
    """The first model's records for the sets of one request, each up to the limit."""
    requests = sum(is_forgotten(each.name) for each in task.evaluation) + 1
    found: Records = {}
    for each in task.evaluation:
        name = f"forgotten-{requests}" if each.name == FORGET else each.name
        ids = {item.id for item in each.items[:limit]}
        found[each.name] = [
            record.model_copy(update={"set": each.name}) for record in first.get(name, ()) if record.id in ids
        ]
    return found


def _evaluate(this: Queue, missing: Sequence[EvaluationSet], known: Records, reporter: Reporter) -> Records:
    """The known records and those of the missing questions, which `evaluate.limit` has left.

    Each set is asked by itself, so that its last digits do not depend on which requests were there at the time.
    """
    opened, judges = this.open(reporter), open_judges(this.config.evaluate, this.device)
    for each in missing:
        made = evaluate(
            opened.model,
            opened.formatter,
            [each],
            config=this.config.evaluate.model_copy(update={"limit": None}),
            judges=judges,
            before=None,
            progress=reporter.on_progress,
        )
        known = {**known, each.name: [*known.get(each.name, ()), *made[each.name]]}
        this.folder.write_records("before", known)
    return known


def _sets(tasks: Sequence[Task], limit: int | None) -> list[EvaluationSet]:
    asked = [next(each for each in task.evaluation if each.name == FORGET) for task in tasks]
    return [
        *(_of_all(each, tasks, limit) for each in tasks[0].evaluation if each.name != FORGET),
        *(
            each.model_copy(update={"name": f"forgotten-{number}", "items": each.items[:limit]})
            for number, each in enumerate(asked, 1)
        ),
    ]


def _of_all(kept: EvaluationSet, tasks: Sequence[Task], limit: int | None) -> EvaluationSet:
    """What any of the tasks scores of a set to keep: where one forgets some of it, others move up to the limit."""
    found: dict[str, Item] = {}
    for task in tasks:
        for each in task.evaluation:
            if each.name == kept.name:
                found |= {item.id: item for item in each.items[:limit]}
    return kept.model_copy(update={"items": tuple(found.values())})


def _without(asked: EvaluationSet, known: Sequence[Record]) -> EvaluationSet:
    ids = {record.id for record in known}
    return asked.model_copy(update={"items": tuple(item for item in asked.items if item.id not in ids)})
