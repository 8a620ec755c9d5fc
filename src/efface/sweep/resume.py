"""Resume interrupted jobs of a sweep, and remove the models of complete runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.saved_settings import has_settings, read_saved_settings
from efface.continual.folder import QueueFolder
from efface.files.folders import QueuePaths, RunPaths
from efface.run.folder import RunFolder
from efface.sweep.plan import Job


def prepare_resume(job: Job[RunConfig] | Job[FinetuneConfig] | Job[EvaluationConfig]) -> bool:
    """Prepare the folder of an interrupted job, whose files may have been moved or renamed since.

    Args:
        job: The job; its current settings and data names replace those in its folder.

    Returns:
        Whether there is something to resume.
    """
    folder = RunFolder(job.folder)
    if job.existing is not None:
        config = folder.as_started(job.config)
        if isinstance(config, RunConfig) and config.continual is not None:
            _drop_partial_request(config, len(config.continual.requests), QueueFolder(job.folder))
        manifest, data = job.existing.manifest, dict(job.contents.data)
        model_answers = list(manifest.data.items())[len(data) :]  # which a run adds to its data
        folder.start(config, manifest.model_copy(update={"data": {**data, **dict(model_answers)}}))
    return folder.config.is_file()


def remove_models(folder: Path) -> None:
    """Remove the models and adapters in the folder of a run, and of each request of a queue."""
    for run in (RunPaths(folder), *QueuePaths(folder).requests()):
        RunFolder(run.root).drop(run.model, run.adapter)


def _drop_partial_request(config: RunConfig, requests: int, queue: QueueFolder) -> None:
    """Remove the interrupted request, so that it starts from scratch, if its settings contain outdated names."""
    partial = next((n for n in range(1, requests + 1) if queue.request(n).read_results() is None), None)
    if partial is None or not queue.request(partial).config.is_file():
        return
    previous = queue.request(partial - 1)
    same_model = partial == 1 or read_saved_settings(queue.request(partial).config)["model"] == str(previous.model)
    if not same_model or not has_settings(queue.config, config):
        shutil.rmtree(queue.request(partial).root)
