"""What the runs of a sweep are made of, each model and each data set read once."""

from __future__ import annotations

from pathlib import Path

from efface.config.commands import RunConfig
from efface.config.continual import request_data
from efface.config.plugins import plugin_hashes
from efface.data import load_task
from efface.data.config import DataConfig
from efface.downstream.tasks import task_files
from efface.models.folder import model_folder, model_sha256
from efface.schema import Task
from efface.sweep.run_key import AnyConfig, Contents


class Reader:
    """Reads and remembers."""

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self._models: dict[str, str] = {}
        self._tasks: dict[DataConfig, Task] = {}

    def task(self, data: DataConfig) -> Task:
        """The task of these settings. Raises `EffaceError` for data that cannot be used."""
        if data not in self._tasks:
            self._tasks[data] = load_task(data, data_dir=self.data_dir)
        return self._tasks[data]

    def model(self, name: str) -> str:
        """The hash of a model. Raises `EffaceError` for one that is not there."""
        if name not in self._models:
            self._models[name] = model_sha256(model_folder(name))
        return self._models[name]

    def tasks(self, config: RunConfig) -> list[Task]:
        """What the run unlearns: one task, or that of each request. Raises `EffaceError` as `task` does."""
        if config.continual is None:
            return [self.task(config.data)]
        return [self.task(each) for each in request_data(config.data, config.continual.requests)]

    def contents(self, config: AnyConfig, *, model: str | None = None) -> Contents:
        """The hashes of all that `config` names; `model`: that of its model, where it is not there to be read."""
        tasks = self.tasks(config) if isinstance(config, RunConfig) else [self.task(config.data)]
        reference = getattr(config, "reference", None)
        return Contents(
            model=model or self.model(config.model),
            data={name: sha256 for task in tasks for name, sha256 in task.sources.items()},
            plugins=plugin_hashes(getattr(config, "plugins", ())),
            tasks=task_files(getattr(config, "downstream", None)),
            reference=None if reference is None else self.model(reference),
        )
