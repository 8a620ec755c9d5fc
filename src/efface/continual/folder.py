"""A queue's folder: settings, records of the first model, and a run's folder for each request."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from efface.artifacts import ContinualResults
from efface.config.commands import RunConfig
from efface.config.parse import to_yaml, validate_config
from efface.config.saved_settings import read_saved_settings
from efface.config.trust import check_saved_code
from efface.data.config import ForgetRequest
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.files.folders import QueuePaths
from efface.files.sums import read_checked
from efface.records import RecordSets
from efface.run.folder import RunFolder


class QueueFolder(RunFolder, QueuePaths):
    """The folder of one queue."""

    def request(self, number: int) -> RunFolder:
        """The run's folder of a request, counted from 1."""
        return RunFolder(super().request(number).root.absolute())

    def drop_model(self, number: int, *, next_adapter: bool) -> None:
        """Remove the model and the adapter that a request left.

        Args:
            number: The request, counted from 1.
            next_adapter: Whether to remove the adapter of the next request, too, which is for that model.
        """
        request, following = self.request(number), self.request(number + 1)
        request.drop(request.model, request.adapter)
        if next_adapter:
            following.drop(following.adapter)

    def read(self, given: RunConfig | None = None) -> RunConfig:
        """The queue's settings.

        Args:
            given: Settings of the user, who trusts the plug-ins that they name.

        Raises:
            EffaceError: There is no queue in this folder, or it names plug-ins that the user did not.
        """
        settings = read_saved_settings(self.config) if self.config.is_file() else {}
        if settings.get("continual") is None:
            raise EffaceError(
                f"{self.root} contains no queue of requests; start one with efface run and continual.requests"
            )
        check_saved_code(settings, given.model_dump(mode="json") if given else {}, self.config)
        return validate_config(RunConfig, settings)

    def finished_requests(self) -> int:
        """How many requests the queue's results have; one may be unlearned and not be among them after a kill.

        Raises:
            EffaceError: The results are damaged.
        """
        if not self.results.is_file():
            return 0
        try:
            return len(ContinualResults.model_validate_json(read_checked(self.results)).requests)
        except ValidationError as error:
            raise EffaceError(f"{self.results} is damaged; remove it, then continue with --resume") from error

    @staticmethod
    def extended(config: RunConfig, requests: Sequence[ForgetRequest]) -> RunConfig:
        """The settings of a queue with other requests.

        Raises:
            EffaceError: The requests cannot be in one queue.
        """
        settings = config.model_dump(mode="json")
        settings["continual"]["requests"] = [
            each if isinstance(each, int) else each.model_dump(mode="json") for each in requests
        ]
        return validate_config(RunConfig, settings)

    def _check_content(self, config: BaseModel, *, resume: bool) -> None:
        """As for a run; a resumed queue may have further requests."""
        if resume and self.config.is_file() and isinstance(config, RunConfig) and config.continual is not None:
            earlier = self.read(config)
            count = len(earlier.continual.requests) if earlier.continual else 0
            requests = config.continual.requests[:count]
            if len(requests) == count and to_yaml(self.extended(config, requests)) == to_yaml(earlier):
                return
        super()._check_content(config, resume=resume)

    def records_before(self) -> RecordSets:
        """The records of the first model that are on disk; a set may be missing."""
        return read_record_sets(self.records("before")) if self.has_records("before") else {}
