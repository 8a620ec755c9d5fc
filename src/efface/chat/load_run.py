"""Load from a run's folder what a conversation with its two models needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from efface.config.parse import validate_config
from efface.config.saved_settings import read_saved_settings
from efface.data.config import DataConfig, expand_data
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.files.folders import QueuePaths
from efface.run.folder import RunFolder
from efface.text.config import TextConfig


class ChatRunSettings(BaseModel):
    """The settings in a run's config.yaml that a conversation needs; plug-ins in it are not imported."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    method: str
    model: str
    tokenizer: str | None = None
    data: DataConfig
    text: TextConfig = TextConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    continual: dict[str, Any] | None = None

    _expand_data = field_validator("data", mode="before")(expand_data)


@dataclass(frozen=True)
class UnlearnedRun:
    """A run, or a queue of requests, that saved an unlearned model."""

    settings: ChatRunSettings
    """Of the run; of a queue, with the data of the last request that saved a model."""
    before_sha256: str
    """Hash of the model before unlearning."""
    after_model: Path
    """Folder of the unlearned model."""
    before_records: Path
    """Folder of the records before unlearning; need not exist."""
    request: int | None
    """Number from 1 of the last request that saved a model; None for a single run."""


def load_unlearned_run(folder: Path) -> UnlearnedRun:
    """Load a folder of `efface run`, also one of an earlier version.

    Args:
        folder: The folder of a run or of a queue of requests.

    Returns:
        Where the models are and how the run evaluated them.

    Raises:
        EffaceError: The folder is not an unlearning run, is damaged, or has no unlearned model.
    """
    root = RunFolder(folder)
    settings = _read_settings(root)
    last, request = root, None
    if settings.continual is not None:
        last, request = _last_request(root)
        settings = settings.model_copy(update={"data": _read_settings(last).data})
    if not last.model.is_dir():
        raise EffaceError(f"the run in {folder} has no unlearned model yet; continue it with --resume, then chat")
    manifest = root.read_manifest()
    if manifest is None:
        raise EffaceError(
            f"{folder} has no manifest.json, which identifies the model before unlearning; copy the whole run"
        )
    return UnlearnedRun(
        settings=settings,
        before_sha256=manifest.model_sha256,
        after_model=last.model,
        before_records=last.records("before"),
        request=request,
    )


def _read_settings(root: RunFolder) -> ChatRunSettings:
    if not root.config.is_file():
        raise EffaceError(f"{root.root} has no config.yaml, so it is not a run; give the --out folder of efface run")
    values = read_saved_settings(root.config)
    if "method" not in values:
        raise EffaceError(
            f"{root.config} has no method, so there is no model before and after unlearning; give the folder of efface "
            "run"
        )
    try:
        return validate_config(ChatRunSettings, values)
    except EffaceError as error:
        raise EffaceError(f"{root.config} is damaged: {error}") from error


def _last_request(root: RunFolder) -> tuple[RunFolder, int]:
    """The folder and the number of the last request of a queue that saved a model."""
    for request in reversed(QueuePaths(root.root).requests()):
        if request.model.is_dir():
            return RunFolder(request.root), int(request.root.name)
    raise EffaceError(f"the queue in {root.root} has no unlearned model yet; continue it with --resume, then chat")
