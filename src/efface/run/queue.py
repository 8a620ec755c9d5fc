"""`continual`: requests that are unlearned one after another. Each is a run in a folder of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from efface.artifacts import ContinualResults, Record, Results
from efface.data.config import shown
from efface.errors import EffaceError
from efface.run.config import RunConfig
from efface.run.pipeline import run
from efface.run.prepare_queue import Queue, prepare_queue
from efface.run.queue_folder import QueueFolder
from efface.run.queue_records import first_records, records_for
from efface.run.quiet import quiet_libraries
from efface.run.reporter import Once, Reporter, Silent
from efface.run.settings import to_yaml
from efface.scenarios.continual import Request
from efface.scores.continual import continual_results


@quiet_libraries()
def run_queue(
    config: RunConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> ContinualResults:
    """Unlearn the requests of `config.continual` in turn, and score after each what all of them asked for.

    The folder `out` gets a run's folder for each request in `requests`. On `resume`, requests that are finished are
    passed over, one that was interrupted goes on, and `config` may hold more requests than the queue had until now.
    All requests are read and checked before anything is written. Raises `EffaceError` as `pipeline.run` does, and
    where a request was made before, or leaves nothing to keep.
    """
    told = Once(reporter or Silent())
    this = prepare_queue(config, QueueFolder(out), data_dir=data_dir, resume=resume, reporter=told)
    this.start()
    start = time.perf_counter()
    before = first_records(this, told)
    this.seconds("evaluate before", start)
    results = []
    for number in range(1, len(this.tasks) + 1):
        start = time.perf_counter()
        results.append(_forget(this, number, before, data_dir=data_dir, reporter=told))
        this.seconds(f"request {number}", start)
        if number > 1 and this.settings.keep_models == "last":
            this.folder.drop_model(number - 1)
    found = continual_results(
        results, before, [shown(each) for each in this.settings.requests], config.definition, this.own_metrics
    )
    this.folder.write_results(found)
    return found


def with_request(out: Path, request: Request) -> RunConfig:
    """The settings of the queue in `out` with another request behind the others.

    Raises `EffaceError` where there is no queue, and for a request that it holds already or cannot hold.
    """
    config = QueueFolder(out).read()
    assert config.continual is not None
    requests = config.continual.requests
    if request in requests:
        place = requests.index(request) + 1
        raise EffaceError(f"{out} holds {shown(request)} already, as request {place}; give one that is new")
    return QueueFolder.extended(config, (*requests, request))


def _forget(
    this: Queue, number: int, before: Mapping[str, Sequence[Record]], *, data_dir: Path | None, reporter: Reporter
) -> Results:
    """Unlearn one request, counted from 1, unless that was done already."""
    folder, task = this.folder.request(number), this.tasks[number - 1]
    what = f"request {number} of {len(this.tasks)} ({shown(this.settings.requests[number - 1])})"
    if done := folder.results():
        reporter.stage(f"{what}: unlearned already in {folder.root}")
        return done
    reporter.stage(what)
    config = this.config_of(number)
    if number > 1 and not this.folder.request(number - 1).model.is_dir():
        raise EffaceError(f"{config.model} is not there, and {what} starts from it; start anew in another --out")
    if this.folder.own_answers.is_file() and not folder.own_answers.is_file():
        folder.root.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(this.folder.own_answers, folder.own_answers)
    started = folder.config.is_file()
    if started and folder.config.read_bytes() != to_yaml(config).encode():
        raise EffaceError(f"{what} was started in another place; go on with {this.folder.root} where it lay")
    return run(
        config, folder.root, data_dir=data_dir, resume=started, reporter=reporter, before=records_for(task, before)
    )
