"""A queue's folder: settings, what the first model said, and a run's folder for each request."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from pydantic import BaseModel

from efface.artifacts import Record
from efface.config.commands import RunConfig
from efface.config.parse import read_saved_settings, to_yaml, validate_config
from efface.data.config import ForgetRequest
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.folders import QueuePaths
from efface.run.folder import RunFolder


class QueueFolder(RunFolder, QueuePaths):
    """Paths of one queue."""

    def request(self, number: int) -> RunFolder:
        """The run's folder of a request, counted from 1."""
        return RunFolder(super().request(number).root.absolute())

    def drop_model(self, number: int) -> None:
        """Remove the model that a request left, and the next one's adapter, which stands on it."""
        for folder in (self.request(number).model, self.request(number).adapter, self.request(number + 1).adapter):
            shutil.rmtree(folder, ignore_errors=True)

    def read(self) -> RunConfig:
        """The queue's settings. Raises `EffaceError` where there is no queue."""
        settings = read_saved_settings(self.config) if self.config.is_file() else {}
        if settings.get("continual") is None:
            raise EffaceError(
                f"{self.root} holds no queue of requests; start one with efface run and continual.requests"
            )
        return validate_config(RunConfig, settings)

    @staticmethod
    def extended(config: RunConfig, requests: Sequence[ForgetRequest]) -> RunConfig:
        """The settings with these requests. Raises `EffaceError` where they do not go together."""
        settings = config.model_dump(mode="json")
        settings["continual"]["requests"] = [
            each if isinstance(each, int) else each.model_dump(mode="json") for each in requests
        ]
        return validate_config(RunConfig, settings)

    def check(self, config: BaseModel, *, resume: bool) -> None:
        """As that of a run; but a queue may have got further requests."""
        if resume and self.config.is_file() and isinstance(config, RunConfig) and config.continual is not None:
            earlier = self.read()
            count = len(earlier.continual.requests) if earlier.continual else 0
            requests = config.continual.requests[:count]
            if len(requests) == count and to_yaml(self.extended(config, requests)) == to_yaml(earlier):
                return
        super().check(config, resume=resume)

    def records_before(self) -> dict[str, list[Record]]:
        """What the first model said, as far as it was asked."""
        return read_record_sets(self.records("before")) if self.has_records("before") else {}
