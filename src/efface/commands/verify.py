"""`efface verify`: compare the files of runs with the sums in their manifests. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from efface.artifacts.saved_manifest import read_manifest
from efface.errors import EffaceError
from efface.files.folders import CONFIG, MANIFEST, RunPaths
from efface.files.sums import RECORDED, checkpoint_problem, folder_sums, read_sums, written_files
from efface.frozen import FrozenModel


class VerifiedRun(FrozenModel):
    """What became of the files of one run, as paths in its folder."""

    path: str
    """The run's folder."""
    has_sums: bool
    """False for a run of an earlier version: nothing is known of its files."""
    intact: int = 0
    """Number of files whose sums are those in the manifest."""
    differs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    not_recorded: tuple[str, ...] = ()
    """Files that the run did not write, where only it writes; a report and copied inputs are not among them."""
    purged: tuple[str, ...] = ()
    """Files and folders that were removed on purpose."""

    @property
    def is_intact(self) -> bool:
        """Whether no file differs, is missing or additional."""
        return not (self.differs or self.missing or self.not_recorded)


class Verification(FrozenModel):
    """What `efface verify` prints with `--json`."""

    schema_version: int = Field(default=1, serialization_alias="schema")
    is_intact: bool
    runs: tuple[VerifiedRun, ...]


def verify(path: Path) -> Verification:
    """Compare every file with its sum: of a run, an evaluation, a queue and its requests, or all runs of a sweep.

    Args:
        path: The folder; the folders of runs in it are found.

    Returns:
        One entry per manifest, in the order of the paths.

    Raises:
        EffaceError: There is no run, or a manifest is damaged.
    """
    if not path.is_dir():
        problem = "is a file" if path.exists() else "does not exist"
        raise EffaceError(f"{path} {problem}; give the folder of a run, the --out of efface run")
    runs = tuple(_verify_run(root) for root in find_runs(path))
    if not runs:
        raise EffaceError(f"{path} has no run in it (no {MANIFEST}); give the folder of a run, a queue or a sweep")
    return Verification(is_intact=all(run.is_intact for run in runs), runs=runs)


def find_runs(path: Path) -> Iterator[Path]:
    """Every folder with a manifest, at any depth, in the order of the paths."""
    for folder, subfolders, files in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name not in RECORDED)
        if MANIFEST in files:
            yield Path(folder)


def _verify_run(root: Path) -> VerifiedRun:
    manifest, known = read_manifest(root), read_sums(root)
    purged = tuple(manifest.purged)
    if known is None:
        return VerifiedRun(path=str(root), has_sums=False, purged=purged)
    expected = {name: sums for name, sums in known.items() if name.split("/")[0] in RECORDED}
    files = [each for each in _recorded_files(root) if not manifest.is_purged(each.relative_to(root).as_posix())]
    if manifest.config_sha256 is not None:
        expected[CONFIG] = {manifest.config_sha256}
        files += [RunPaths(root).config] if RunPaths(root).config.is_file() else []
    found = folder_sums(root, files)
    missing = {name for name in expected.keys() - found.keys() if not manifest.is_purged(name)}
    differs = [name for name, digest in found.items() if name in expected and digest not in expected[name]]
    checkpoints = sorted(RunPaths(root).checkpoints.glob("step-*"))
    damaged = [each.relative_to(root).as_posix() for each in checkpoints if checkpoint_problem(each)]
    not_recorded = sorted(found.keys() - expected.keys())
    return VerifiedRun(
        path=str(root),
        has_sums=True,
        intact=len(found) - len(differs) - len(not_recorded) + len(checkpoints) - len(damaged),
        differs=(*differs, *damaged),
        missing=tuple(sorted(missing)),
        not_recorded=tuple(not_recorded),
        purged=purged,
    )


def _recorded_files(root: Path) -> list[Path]:
    """The files in a run's folder of which its manifest must have sums."""
    places = [root / name for name in RECORDED]
    inside = (path for place in places for path in written_files(place))
    return [*(place for place in places if place.is_file()), *inside]
