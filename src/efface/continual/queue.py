"""`continual`: requests that are unlearned one after another. Each is a run in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from efface.artifacts import ContinualResults, Downstream, Results
from efface.config.commands import RunConfig
from efface.config.plugins import custom_metrics
from efface.continual.first_model import first_downstream, first_records, request_records
from efface.continual.folder import QueueFolder
from efface.continual.prepare import PlannedRequest, PreparedQueue, prepare_queue
from efface.data.config import FileConfig, ForgetRequest, request_name
from efface.data.file_settings import ColumnsConfig
from efface.errors import EffaceError
from efface.files.folder_lock import lock_folder
from efface.main_process import from_main_process
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import OnceReporter, Reporter, SilentReporter
from efface.records import Record
from efface.run.evaluation_stages import free_models
from efface.run.folder import claims_folder
from efface.run.metadata.metadata import RunMetadata
from efface.run.model_answers import write_answers
from efface.run.pipeline import run
from efface.scores.continual import continual_results


@quiet_libraries()
@claims_folder(QueueFolder)
def run_queue(
    config: RunConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> ContinualResults:
    """Unlearn the requests of `config.continual` one after another; after each, score the forget sets of all so far.

    All requests are read and checked before anything is written.

    Args:
        config: The queue's settings.
        out: The queue's folder; each request gets a run's folder in `out`/requests.
        data_dir: Where benchmarks are stored; None for the default.
        resume: Continue a queue that was stopped in `out`: finished requests are skipped, an interrupted one is
            resumed. `config` may have further requests at the end.
        reporter: Gets stages, steps, progress and warnings.

    Returns:
        The scores of every forget set over time.

    Raises:
        EffaceError: As for `run.pipeline.run`; also for a request that repeats an earlier one, or that leaves no
            retain set.
    """
    folder, reporter = QueueFolder(out), OnceReporter(reporter or SilentReporter())
    queue, opened = prepare_queue(config, folder, data_dir=data_dir, resume=resume, reporter=reporter)
    config = queue.config
    metadata = RunMetadata(folder, config, queue.manifest, model_answers=queue.model_answers)
    downstream = first_downstream(opened, config, folder, metadata=metadata, reporter=reporter)
    metadata.start()
    before = first_records(
        opened, queue.tasks, config.evaluate, folder, device=queue.device, metadata=metadata, reporter=reporter
    )
    del opened
    free_models()
    results = []
    for request in queue.requests:
        done = _finished(request, folder, reporter)
        if done is None:
            with metadata.stage(f"request {request.number}"):
                done = _unlearn(
                    request, queue, folder, before=before, downstream=downstream, data_dir=data_dir, reporter=reporter
                )
        results.append(done)
        if request.number > 1 and queue.settings.keep_models == "last":
            folder.drop_model(request.number - 1, next_adapter=queue.settings.lora == "merge")
    names = [request_name(each) for each in queue.settings.requests]
    metrics = custom_metrics(config.plugins)
    found = from_main_process(lambda: continual_results(results, before, names, config.definition, metrics))
    folder.write_results(found)
    return found


def append_request(out: Path, request: ForgetRequest) -> RunConfig:
    """The settings of an existing queue with one more request.

    The last request may be given again until the queue's results have it: its addition was interrupted.

    Args:
        out: The queue's folder.
        request: Number of a task, or a file. A file without column names gets those of the last request.

    Returns:
        Settings for `run_queue` with `resume`.

    Raises:
        EffaceError: There is no queue, or it has this request already or cannot have it.
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
    number = requests.index(request) + 1
    if number == len(requests) > folder.finished_requests():
        return config
    raise EffaceError(
        f"{out} contains {request_name(request)} already, as request {number}; give one that is not in the queue"
    )


def _finished(request: PlannedRequest, folder: QueueFolder, reporter: Reporter) -> Results | None:
    """The results of a request that was unlearned already."""
    run_folder = folder.request(request.number)
    results = run_folder.read_results()
    if results is not None:
        reporter.on_stage(f"{request.name}: unlearned already in {run_folder.root}")
        with lock_folder(run_folder.root):  # which a kill may have left
            shutil.rmtree(run_folder.checkpoints, ignore_errors=True)  # a run removes them last
    return results


def _unlearn(
    request: PlannedRequest,
    queue: PreparedQueue,
    folder: QueueFolder,
    *,
    before: Mapping[str, Sequence[Record]],
    downstream: Downstream | None,
    data_dir: Path | None,
    reporter: Reporter,
) -> Results:
    reporter.on_stage(request.name)
    run_folder = folder.request(request.number)
    if queue.model_answers is not None:
        write_answers(run_folder, queue.model_answers)  # the first model's, for all requests
    return run(
        request.config,
        run_folder.root,
        data_dir=data_dir,
        resume=run_folder.config.is_file(),
        reporter=reporter,
        before=request_records(request.task, before, request.config.evaluate.limit),
        downstream=downstream,
    )
