"""Going on with what was interrupted, and what a finished run lets go of."""

from __future__ import annotations

import shutil
from pathlib import Path

from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import read_yaml, to_yaml
from efface.continual.folder import QueueFolder
from efface.folders import QueuePaths, RunPaths
from efface.run.folder import RunFolder
from efface.sweep.plan import Job


def resume_folder(job: Job[RunConfig] | Job[FinetuneConfig]) -> bool:
    """Whether there is something to go on with. What is only called otherwise now is no obstacle to that."""
    folder = RunFolder(job.folder)
    if job.found is not None:
        if isinstance(job.config, RunConfig) and job.config.continual is not None:
            _drop_partial_request(job.config, len(job.config.continual.requests), QueueFolder(job.folder))
        made, now = job.found.manifest, dict(job.contents.data)
        own_answers = list(made.data.items())[len(now) :]  # what a run adds to its data
        folder.start(job.config, made.model_copy(update={"data": {**now, **dict(own_answers)}}))
    return folder.config.is_file()


def remove_models(folder: Path) -> None:
    """Remove what a run, or each request of a queue, leaves of weights."""
    for run in (RunPaths(folder), *QueuePaths(folder).requests()):
        for path in (run.model, run.adapter):
            shutil.rmtree(path, ignore_errors=True)


def _drop_partial_request(config: RunConfig, requests: int, queue: QueueFolder) -> None:
    """Remove the request that was interrupted, to make it anew, where its settings name what has other names now."""
    half = next((n for n in range(1, requests + 1) if queue.request(n).read_results() is None), None)
    if half is None or not queue.request(half).config.is_file():
        return
    here = half == 1 or read_yaml(queue.request(half).config)["model"] == str(queue.request(half - 1).model)
    if not here or queue.config.read_bytes() != to_yaml(config).encode():
        shutil.rmtree(queue.request(half).root)
