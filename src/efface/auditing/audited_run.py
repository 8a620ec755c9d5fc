"""The run that is audited, read from its folder: its settings, and what its records say the model knew before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from efface.artifacts import Manifest
from efface.config.parse import validate_config
from efface.config.saved_settings import read_saved_settings
from efface.data.config import DataConfig, expand_data
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.records import Record, read_records
from efface.run.folder import RunFolder
from efface.scores.sets import FORGET
from efface.text.config import TextConfig
from efface.train.config import TrainConfig


class AuditedRunSettings(BaseModel):
    """The settings in a run's config.yaml that an audit needs; plug-ins in it are not imported."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    method: str
    model: str
    tokenizer: str | None = None
    data: DataConfig
    seed: int = 0
    private: bool = True
    text: TextConfig = TextConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    continual: Any = None

    _expand_data = field_validator("data", mode="before")(expand_data)


@dataclass(frozen=True)
class AuditedRun:
    """A finished run."""

    folder: RunFolder
    settings: AuditedRunSettings
    manifest: Manifest
    before: tuple[Record, ...]
    """Of the model before unlearning, on the forget set."""


def read_audited_run(path: Path) -> AuditedRun:
    """Read a finished run.

    Args:
        path: The folder of a run, or of one request of a queue.

    Raises:
        EffaceError: It is no finished run with an evaluation, has no model or records anymore, or is damaged.
    """
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise EffaceError(f"{path} is no run (no config.yaml); give the folder of a finished efface run")
    values = read_saved_settings(folder.config)
    if "method" not in values:
        raise EffaceError(f"{folder.config} has no method, so nothing was unlearned; give the folder of efface run")
    settings = _settings(folder, values)
    if settings.continual is not None:
        raise EffaceError(f"{path} is a queue of requests; audit one of them, such as {path}/requests/01")
    manifest = folder.read_manifest()
    if manifest is None:
        raise EffaceError(f"{path} has no manifest.json, which identifies its models; copy the whole run")
    _check_complete(folder, manifest)
    records = folder.records("before") / f"{FORGET}.jsonl"
    return AuditedRun(folder, settings, manifest, tuple(read_records(records)))


def _settings(folder: RunFolder, values: dict[str, Any]) -> AuditedRunSettings:
    try:
        return validate_config(AuditedRunSettings, values)
    except EffaceError as error:
        raise EffaceError(f"{folder.config} is damaged: {error}") from error


def _check_complete(folder: RunFolder, manifest: Manifest) -> None:
    if "records" in manifest.purged or "model" in manifest.purged:
        raise EffaceError(
            f"{folder.root} was purged, and an audit needs its model and its records of before; run it again"
        )
    if not folder.model.is_dir():
        raise EffaceError(f"{folder.root} has no model to audit; continue the run with --resume, or run it again")
    if not folder.results.is_file():
        remedy = "continue it with --resume" if folder.has_records("before") else "use efface run, which evaluates"
        raise EffaceError(f"the run in {folder.root} is not finished, or was not evaluated; {remedy}, then audit it")
    folder.read_results()  # damaged results are refused before hours of attacks, which end in this file
    if not (folder.records("before") / f"{FORGET}.jsonl").is_file():
        raise EffaceError(
            f"{folder.root} has no records of the forget set before unlearning, which say what the model knew; restore "
            "them, or run it again"
        )
