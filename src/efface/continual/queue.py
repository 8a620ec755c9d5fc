"""`continual`: requests that are unlearned one after another. Each is a run in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from efface.artifacts import ContinualResults, Downstream, Record, Results
from efface.config.commands import RunConfig
from efface.continual.downstream import first_downstream
from efface.continual.folder import QueueFolder
from efface.continual.prepare import Queue, prepare_queue
from efface.continual.records import first_records, records_for
from efface.data.config import ColumnsConfig, FileConfig, ForgetRequest, request_name
from efface.errors import EffaceError
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import OnceReporter, Reporter, SilentReporter
from efface.run.pipeline import run
from efface.run.retain_answers import write_answers
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
    told = OnceReporter(reporter or SilentReporter())
    this = prepare_queue(config, QueueFolder(out), data_dir=data_dir, resume=resume, reporter=told)
    downstream = first_downstream(this, told)
    this.start()
    before = first_records(this, told)
    results = []
    for number in range(1, len(this.tasks) + 1):
        results.append(_unlearn_request(this, number, before, downstream, data_dir=data_dir, reporter=told))
        if number > 1 and this.settings.keep_models == "last":
            this.folder.drop_model(number - 1)
    found = continual_results(
        results, before, [request_name(each) for each in this.settings.requests], config.definition, this.own_metrics
    )
    this.folder.write_results(found)
    return found


def append_request(out: Path, request: ForgetRequest) -> RunConfig:
    """The settings of the queue in `out` with another request behind the others, or with the last one to go on with.

    A file has its columns named as in the last one, unless it says otherwise. Raises `EffaceError` where there is no
    queue, and for a request that it holds already or cannot hold.
    """
    folder = QueueFolder(out)
    config = folder.read()
    assert config.continual is not None
    requests = config.continual.requests
    last = requests[-1]
    if isinstance(request, FileConfig) and isinstance(last, FileConfig) and request.columns == ColumnsConfig():
        request = request.model_copy(update={"columns": last.columns})
    if request not in requests:
        return QueueFolder.extended(config, (*requests, request))
    place = requests.index(request) + 1
    if place == len(requests) and folder.request(place).read_results() is None:
        return config
    raise EffaceError(f"{out} holds {request_name(request)} already, as request {place}; give one that is new")


def _unlearn_request(
    this: Queue,
    number: int,
    before: Mapping[str, Sequence[Record]],
    downstream: Downstream | None,
    *,
    data_dir: Path | None,
    reporter: Reporter,
) -> Results:
    """Unlearn one request, counted from 1, unless that was done already."""
    folder, what = this.folder.request(number), this.name_of(number)
    if done := folder.read_results():
        reporter.on_stage(f"{what}: unlearned already in {folder.root}")
        shutil.rmtree(folder.checkpoints, ignore_errors=True)  # which are the last to go
        return done
    reporter.on_stage(what)
    if this.own_answers is not None:
        write_answers(folder, this.own_answers)
    with this.stage(f"request {number}"):
        return run(
            this.config_of(number),
            folder.root,
            data_dir=data_dir,
            resume=folder.config.is_file(),
            reporter=reporter,
            before=records_for(this.tasks[number - 1], before, this.config.evaluate.limit),
            downstream=downstream,
        )
