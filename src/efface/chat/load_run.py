"""The two models of a run's folder: where they lie and how they are asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from efface.config.parse import read_saved_settings, validate_config
from efface.data.config import DataConfig, expand_data
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.folders import QueuePaths
from efface.run.folder import RunFolder
from efface.text.formatter import TextConfig


class RunSettings(BaseModel):
    """What of a run's config.yaml a conversation needs; plug-ins in it are not imported."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    method: str
    model: str
    data: DataConfig
    text: TextConfig = TextConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    continual: dict[str, Any] | None = None

    _short_data = field_validator("data", mode="before")(expand_data)


@dataclass(frozen=True)
class UnlearnedRun:
    """A run, or a queue of requests, that left a model."""

    settings: RunSettings
    """Of the run; of a queue, with the data of the last request that left a model."""
    sha256: str
    """Of the model before unlearning."""
    after: Path
    """The folder of the unlearned model."""
    records: Path
    """The folder of what the model before unlearning said; need not be there."""
    request: int | None
    """Of a queue: the last request that left a model, counted from 1."""


def load_unlearned_run(folder: Path) -> UnlearnedRun:
    """What lies in `folder`. Raises `EffaceError` for a folder that is no run, damaged or without a model."""
    root = RunFolder(folder)
    settings = _settings(root)
    last, request = root, None
    if settings.continual is not None:
        last, request = _last_request(root)
        settings = settings.model_copy(update={"data": _settings(last).data})
    if not last.model.is_dir():
        raise EffaceError(f"the run in {folder} has no unlearned model yet; go on with it by --resume, then chat")
    manifest = root.read_manifest()
    if manifest is None:
        raise EffaceError(f"{folder} has no manifest.json, which says what the model before was; copy the run whole")
    return UnlearnedRun(
        settings=settings,
        sha256=manifest.model_sha256,
        after=last.model,
        records=last.records("before"),
        request=request,
    )


def _settings(root: RunFolder) -> RunSettings:
    if not root.config.is_file():
        raise EffaceError(f"{root.root} holds no run (no config.yaml); give the folder that efface run made as --out")
    values = read_saved_settings(root.config)
    if "method" not in values:
        raise EffaceError(
            f"{root.root} holds no unlearning (no method in its config.yaml), and so no model before and after; give "
            "the folder of efface run"
        )
    try:
        return validate_config(RunSettings, values)
    except EffaceError as error:
        raise EffaceError(f"{root.config} is damaged: {error}") from error


def _last_request(root: RunFolder) -> tuple[RunFolder, int]:
    """The last request of a queue that left a model, and its number."""
    for request in reversed(QueuePaths(root.root).requests()):
        if request.model.is_dir():
            return RunFolder(request.root), int(request.root.name)
    raise EffaceError(f"the queue in {root.root} has no unlearned model yet; go on with it by --resume, then chat")
