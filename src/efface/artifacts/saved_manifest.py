"""Read the manifest in the folder of a run. No torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from efface.artifacts import Manifest
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from efface.files.safe_read import MAX_JSON, read_bytes


def read_manifest(root: Path, remedy: str = "restore it from a copy") -> Manifest:
    """The manifest of a run.

    Args:
        root: The run's folder.
        remedy: What to do about a damaged one, for the message.

    Raises:
        EffaceError: It is missing, damaged or too large.
    """
    path = RunPaths(root).manifest
    try:
        return Manifest.model_validate_json(read_bytes(path, MAX_JSON, remedy))
    except (OSError, ValidationError) as error:
        raise EffaceError(f"{path} is damaged; {remedy}") from error


def is_fine_tuning(root: Path) -> bool:
    """Whether a folder is a finished run of `efface finetune`, as far as its manifest can be read.

    Args:
        root: The folder.
    """
    try:
        return "finetune" in read_manifest(root).seconds and RunPaths(root).model.is_dir()
    except EffaceError:
        return False


def lost_records_by_purge(root: Path) -> bool:
    """Whether a run has no records because `efface purge` removed them, as far as its manifest can be read.

    Args:
        root: The run's folder, or any other.
    """
    run = RunPaths(root)
    if run.records_root.is_dir() or not run.manifest.is_file():
        return False
    try:
        return run.records_root.name in read_manifest(root).purged
    except EffaceError:
        return False
