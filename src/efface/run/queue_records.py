"""What the model before all requests said: what each request is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from efface.artifacts import Record
from efface.evaluation.engine import evaluate
from efface.evaluation.judges import open_judges
from efface.run.prepare_queue import Queue
from efface.run.reporter import Reporter
from efface.schema import EvaluationSet, Task
from efface.scores.sets import FORGET, is_forgotten

Records = dict[str, list[Record]]


def first_records(this: Queue, reporter: Reporter) -> Records:
    """The first model's records, from disk as far as they are there.

    Sets: those to keep as the first request has them, and what each request asks to forget as `forgotten-1` and so on.
    """
    known = this.folder.records_before()
    missing = [each for each in _sets(this.tasks) if each.name not in known]
    if missing:
        reporter.stage("evaluating before the requests")
        opened = this.open(reporter)
        made = evaluate(
            opened.model,
            opened.formatter,
            missing,
            config=this.config.evaluate,
            judges=open_judges(this.config.evaluate, this.device),
            before=None,
            progress=reporter.scored,
        )
        this.folder.write_records("before", {**known, **made})
    this.opened = None
    return this.folder.records_before()


def records_for(task: Task, first: Mapping[str, Sequence[Record]]) -> Records:
    """The first model's records for the sets of one request."""
    requests = sum(is_forgotten(each.name) for each in task.evaluation) + 1
    found: Records = {}
    for each in task.evaluation:
        name = f"forgotten-{requests}" if each.name == FORGET else each.name
        ids = {item.id for item in each.items}
        found[each.name] = [
            record.model_copy(update={"set": each.name}) for record in first.get(name, ()) if record.id in ids
        ]
    return found


def _sets(tasks: Sequence[Task]) -> list[EvaluationSet]:
    kept = [each for each in tasks[0].evaluation if each.name != FORGET]
    asked = [next(each for each in task.evaluation if each.name == FORGET) for task in tasks]
    return [*kept, *(each.model_copy(update={"name": f"forgotten-{n}"}) for n, each in enumerate(asked, 1))]
