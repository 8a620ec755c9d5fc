"""Continual unlearning: requests one after another, each made of the model that the last one left. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from efface.data.config import DataConfig, FileConfig, ForgetRequest, expand_path, request_name
from efface.frozen import FrozenModel


class ContinualConfig(FrozenModel):
    """Settings of a queue of requests."""

    requests: tuple[ForgetRequest, ...] = Field(min_length=1)
    """In their order: numbers of tasks, or files for source=files."""
    reference: Literal["previous", "first"] = "previous"
    """What NPO, DPO and KL compare with: the model that the last request left, or the one before all requests."""
    keep_models: Literal["last", "all"] = "last"
    """`all` keeps the model that each request left; each is as large as the first."""

    @field_validator("requests", mode="before")
    @classmethod
    def _paths_alone(cls, value: Any) -> Any:
        return [expand_path(each) for each in value] if isinstance(value, list | tuple) else value

    @field_validator("requests")
    @classmethod
    def _in_order(cls, value: tuple[ForgetRequest, ...]) -> tuple[ForgetRequest, ...]:
        """Every request once and of one kind; tasks without gaps, in any order."""
        if len({type(each) for each in value}) > 1:
            raise ValueError("numbers of tasks and files do not go together; give one or the other")
        for place, request in enumerate(value):
            if request in value[:place]:
                raise ValueError(f"{request_name(request)} is asked to be forgotten twice; remove one")
        tasks = sorted(each for each in value if isinstance(each, int))
        if tasks and tasks[0] < 1:
            raise ValueError(f"there is no task {tasks[0]}; tasks are counted from 1")
        skipped = set(range(1, len(tasks) + 1)) - set(tasks)
        if skipped:
            raise ValueError(f"task {tasks[-1]} is there and task {min(skipped)} is not; leave no task out")
        return value


def with_first_request(data: dict[str, Any], requests: Sequence[ForgetRequest]) -> dict[str, Any]:
    """The settings `data` of a queue: those of its first request. Raises `ValueError` where they name another one."""
    first = requests[0]
    key = "forget" if isinstance(first, FileConfig) else "task"
    asked: Any = expand_path(first.model_dump()) if isinstance(first, FileConfig) else first
    given = expand_path(data.get(key))
    if given is not None and not _same(given, first):
        raise ValueError(f"data.{key} and continual.requests name two different first requests; leave out data.{key}")
    whole = {"source": "files", "retain_minus_forget": True} if isinstance(first, FileConfig) else {}
    return {**whole, **data, key: asked}


def request_data(data: DataConfig, requests: Sequence[ForgetRequest]) -> tuple[DataConfig, ...]:
    """The data of each request, in order: what it forgets, and that those before it are forgotten already.

    `data` is that of the first. Raises pydantic's `ValidationError` for a request that the data does not have.
    """
    settings = data.model_dump(exclude={"forget", "task", "forgotten_before"})
    return tuple(
        DataConfig.model_validate(
            {
                **settings,
                "forget" if isinstance(request, FileConfig) else "task": request,
                "forgotten_before": tuple(requests[:place]),
            }
        )
        for place, request in enumerate(requests)
    )


def _same(given: Any, request: ForgetRequest) -> bool:
    if isinstance(given, dict) and isinstance(request, FileConfig):
        try:
            return FileConfig.model_validate(given) == request
        except ValidationError:
            return False
    return bool(given == request)
