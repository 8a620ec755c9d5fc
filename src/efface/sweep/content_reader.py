"""The tasks and content hashes of a sweep's jobs; every model and every data set is read once."""

from __future__ import annotations

from pathlib import Path

from efface.config.commands import RunConfig
from efface.config.continual import request_data
from efface.config.plugins import plugin_hashes
from efface.data import load_task
from efface.data.config import DataConfig
from efface.downstream.tasks import task_files
from efface.models.folder import model_folder, model_sha256
from efface.models.tokenizer import tokenizer_folder, tokenizer_sha256
from efface.schema import Task
from efface.sweep.run_key import Contents, JobConfig


class ContentReader:
    """Reads and caches."""

    def __init__(self, data_dir: Path | None) -> None:
        """Read benchmark data from `data_dir`; None for the default folder."""
        self.data_dir = data_dir
        self._models: dict[str, str] = {}
        self._tokenizers: dict[str, str] = {}
        self._tasks: dict[DataConfig, Task] = {}

    def task(self, data: DataConfig) -> Task:
        """Load a task.

        Args:
            data: Its settings.

        Returns:
            The task.

        Raises:
            EffaceError: The data cannot be used.
        """
        if data not in self._tasks:
            self._tasks[data] = load_task(data, data_dir=self.data_dir)
        return self._tasks[data]

    def tasks(self, config: RunConfig) -> list[Task]:
        """Load what a run unlearns.

        Args:
            config: The run.

        Returns:
            One task or, of a queue, the task of each request.

        Raises:
            EffaceError: The data cannot be used.
        """
        if config.continual is None:
            return [self.task(config.data)]
        return [self.task(each) for each in request_data(config.data, config.continual.requests)]

    def model_hash(self, name: str) -> str:
        """Hash a model.

        Args:
            name: A folder or a name on the hub.

        Returns:
            Its SHA-256.

        Raises:
            EffaceError: The model does not exist.
        """
        if name not in self._models:
            self._models[name] = model_sha256(model_folder(name))
        return self._models[name]

    def tokenizer_hash(self, name: str) -> str:
        """Hash a tokenizer, as `model_hash` does a model."""
        if name not in self._tokenizers:
            self._tokenizers[name] = tokenizer_sha256(tokenizer_folder(name))
        return self._tokenizers[name]

    def contents(self, config: JobConfig, *, model: str | None = None) -> Contents:
        """Hash everything that a job is made of.

        Args:
            config: The job.
            model: Replaces the hash of its model, if that does not exist yet.

        Returns:
            The hashes.

        Raises:
            EffaceError: Data, a model, a plug-in or a task file cannot be read.
        """
        tasks = self.tasks(config) if isinstance(config, RunConfig) else [self.task(config.data)]
        reference = getattr(config, "reference", None)
        return Contents(
            model=model or self.model_hash(config.model),
            data={name: sha256 for task in tasks for name, sha256 in task.sources.items()},
            plugins=plugin_hashes(getattr(config, "plugins", ())),
            tasks=task_files(getattr(config, "downstream", None)),
            reference=None if reference is None else self.model_hash(reference),
            tokenizer=None if config.tokenizer is None else self.tokenizer_hash(config.tokenizer),
        )
