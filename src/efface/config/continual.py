"""Continual unlearning: forget requests one after another, each from the model that the previous one left. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from efface.data.config import DataConfig, FileConfig, ForgetRequest, expand_path, request_name
from efface.frozen import FrozenModel


class ContinualConfig(FrozenModel):
    """Settings of continual unlearning."""

    requests: tuple[ForgetRequest, ...] = Field(min_length=1)
    """The forget requests, in order: task numbers of a benchmark, such as `[1, 2, 3]`, or files for
    `data.source=files`."""
    reference: Literal["previous", "first"] = "previous"
    """The reference model of NPO, DPO and KL: `previous` is the model that the previous request left, `first` the model
    before all requests."""
    lora: Literal["merge", "keep"] = "merge"
    """With `train.lora`: `merge` merges the adapter of a request into the model, and the next request trains a new one
    on it; `keep` goes on training the same adapter on the model before all requests, as the published code does."""
    keep_models: Literal["last", "all"] = "last"
    """`last` saves only the last request's model. `all` saves the model of every request, each as large as the
    first."""

    @field_validator("requests", mode="before")
    @classmethod
    def _expand_paths(cls, value: Any) -> Any:
        return [expand_path(each) for each in value] if isinstance(value, list | tuple) else value

    @field_validator("requests")
    @classmethod
    def _check_requests(cls, value: tuple[ForgetRequest, ...]) -> tuple[ForgetRequest, ...]:
        """Task numbers or files, each once; task numbers without gaps, in any order."""
        if len({type(each) for each in value}) > 1:
            raise ValueError("task numbers and files cannot be mixed; give one or the other")
        for index, request in enumerate(value):
            if request in value[:index]:
                raise ValueError(f"{request_name(request)} is listed twice; remove one")
        tasks = sorted(each for each in value if isinstance(each, int))
        if tasks and tasks[0] < 1:
            raise ValueError(f"there is no task {tasks[0]}; tasks are counted from 1")
        skipped = set(range(1, len(tasks) + 1)) - set(tasks)
        if skipped:
            raise ValueError(f"task {tasks[-1]} is listed but task {min(skipped)} is not; leave no task out")
        return value


def with_first_request(data: dict[str, Any], requests: Sequence[ForgetRequest]) -> dict[str, Any]:
    """The `data` settings of continual unlearning, with the first request filled in.

    Args:
        data: Nested `data` settings as the user gave them.
        requests: The forget requests, in order.

    Returns:
        `data` with the first request as `task` or `forget`. For files, the source is `files` and the retain file may
        contain forget items (`retain_minus_forget`), unless `data` says otherwise.

    Raises:
        ValueError: Where `data` names another first request.
    """
    first = requests[0]
    key = "forget" if isinstance(first, FileConfig) else "task"
    requested: Any = expand_path(first.model_dump()) if isinstance(first, FileConfig) else first
    given = expand_path(data.get(key))
    if given is not None and not _is_same_request(given, first):
        raise ValueError(f"data.{key} and continual.requests name different first requests; leave out data.{key}")
    defaults = {"source": "files", "retain_minus_forget": True} if isinstance(first, FileConfig) else {}
    return {**defaults, **data, key: requested}


def request_data(data: DataConfig, requests: Sequence[ForgetRequest]) -> tuple[DataConfig, ...]:
    """The data of each request: its forget set, and which requests were forgotten before it.

    Args:
        data: The data of the first request.
        requests: The forget requests, in order.

    Returns:
        One config per request; they differ only in `task` or `forget`, and in `forgotten_before`.

    Raises:
        ValidationError: (pydantic's) for a request that the data does not have.
    """
    shared = data.model_dump(exclude={"forget", "task", "forgotten_before"})
    return tuple(
        DataConfig.model_validate(
            {
                **shared,
                "forget" if isinstance(request, FileConfig) else "task": request,
                "forgotten_before": tuple(requests[:index]),
            }
        )
        for index, request in enumerate(requests)
    )


def _is_same_request(given: Any, request: ForgetRequest) -> bool:
    """Whether an unchecked setting means this request."""
    if isinstance(given, dict) and isinstance(request, FileConfig):
        try:
            return FileConfig.model_validate(given) == request
        except ValidationError:
            return False
    return bool(given == request)
