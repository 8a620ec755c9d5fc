"""Reading and writing a run's folder, and which parts of the run are already done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from efface import distributed
from efface.artifacts import ContinualResults, Downstream, Manifest, Results
from efface.artifacts.saved_manifest import read_manifest
from efface.config.commands import RunConfig
from efface.config.open_settings import as_saved
from efface.config.parse import to_yaml
from efface.config.saved_settings import has_settings, read_saved_settings
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets, write_record_sets
from efface.files.atomic import WriteError, record_in, write_json, write_text
from efface.files.folder_lock import check_writable, held, is_lock, lock_folder
from efface.files.folders import RunPaths, Stage
from efface.files.permissions import make_folder, readable, settle
from efface.files.safe_read import parse_json
from efface.files.sums import read_checked
from efface.records import RecordSets
from efface.train.step_log import KeepLog, StepLog
from efface.train.watch import WatchLog

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
ConfigT = TypeVar("ConfigT", bound=BaseModel)


class RunFolder(RunPaths):
    """The folder of one run. Files are written atomically: complete or not at all."""

    def check(self, config: BaseModel, *, resume: bool, filled: bool = False) -> None:
        """Check that a run may be written here, unless that was checked since this process holds the folder.

        Writes nothing.

        Args:
            config: The run's settings.
            resume: Whether the folder may already contain a run, which must have the same settings.
            filled: Whether settings that follow from the size of the model are filled in; if not, the open ones among
                them are not compared.

        Raises:
            EffaceError: The folder contains something else, a run that is not to be resumed or one with other
                settings, or it cannot be written.
        """
        lock, check = held(self.root), f"{resume} {filled} {to_yaml(config)}"
        if lock is not None and check in lock.checks:
            return  # nobody else has written here since
        check_writable(self.root)
        if resume and self.config.is_file() and (earlier := self.read_manifest()) is not None and earlier.purged:
            raise EffaceError(
                f"--resume: {self.root} was purged, so what it needs is gone; start another run in another --out"
            )
        self._check_content(self.as_started(config) if resume and not filled else config, resume=resume)
        if lock is not None:
            lock.checks.add(check)

    def as_started(self, config: ConfigT) -> ConfigT:
        """The settings with those that the run in this folder, if there is one, took from the size of its model.

        Args:
            config: What they leave open is filled in.

        Raises:
            EffaceError: As `read_yaml`.
        """
        if not isinstance(config, RunConfig) or not self.config.is_file():
            return config
        return cast(ConfigT, as_saved(config, read_saved_settings(self.config)))

    @contextmanager
    def claimed(self, config: BaseModel, *, resume: bool) -> Iterator[None]:
        """Hold the folder for the block, in which no other process can write to it, after `check`.

        Args:
            config: As for `check`; its setting `private` says who may read what is written.
            resume: As for `check`.

        Raises:
            EffaceError: As for `check`; or another process holds the folder.
        """
        with lock_folder(self.root), readable(self.root, private=getattr(config, "private", True)):
            self.check(config, resume=resume)
            try:
                yield
            finally:
                record_in(self.root, None)

    def _check_content(self, config: BaseModel, *, resume: bool) -> None:
        if self.config.is_file():
            if not resume:
                raise EffaceError(
                    f"--out {self.root} already contains a run; continue it with --resume or choose another folder"
                )
            if not has_settings(self.config, config):
                raise EffaceError(
                    f"--resume: {self.config} has other settings than these; give the same ones or another --out"
                )
        elif self.root.is_dir() and any(not self._may_precede_config(path) for path in self.root.iterdir()):
            raise EffaceError(f"--out {self.root} is not empty and contains no run; choose another folder")

    def _may_precede_config(self, path: Path) -> bool:
        """Whether a folder without a config may contain this: left by a kill, or an input written by the library."""
        return path.name.endswith(".partial") or is_lock(path) or path in (self.inputs, self.before, self.model_answers)

    def start(self, config: BaseModel, manifest: Manifest) -> None:
        """Write the run's settings and its manifest, once every process has checked the folder.

        Raises:
            EffaceError: A file cannot be written.
        """
        distributed.barrier()
        write_text(self.config, to_yaml(config))
        self.write_manifest(manifest)

    def read_manifest(self) -> Manifest | None:
        """The manifest of the run in this folder; None where none was started.

        Raises:
            EffaceError: The file is damaged.
        """
        return read_manifest(self.root, "start over in another --out") if self.manifest.is_file() else None

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace manifest.json."""
        write_json(self.manifest, manifest.model_dump())

    def drop(self, *folders: Path) -> None:
        """Remove folders, which are then no longer among the files of the run.

        Args:
            folders: Such as the model; one that is not there is skipped.
        """
        there = [path for path in folders if path.is_dir()]
        manifest = self.read_manifest() if there else None
        if manifest is not None and manifest.files:
            names = tuple(f"{path.name}/" for path in there)
            files = {name: digest for name, digest in manifest.files.items() if not name.startswith(names)}
            self.write_manifest(manifest.model_copy(update={"files": files}))
        for path in there:
            shutil.rmtree(path, ignore_errors=True)

    def append_step(self, log: StepLog | WatchLog | KeepLog) -> None:
        """Add a line to metrics.jsonl; with several processes, only the first one writes.

        Raises:
            WriteError: The disk is full.
        """
        if not distributed.is_main_process():
            return
        size = self.metrics.stat().st_size if self.metrics.is_file() else 0
        try:
            if not size:
                make_folder(self.root)
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(log.to_json() if isinstance(log, StepLog) else asdict(log)) + "\n")
            if not size:
                settle(self.metrics)
        except OSError as error:
            if self.metrics.is_file():
                os.truncate(self.metrics, size)  # remove the partial line
            raise WriteError(
                f"cannot write {self.metrics}: {error.strerror}; free some space, then continue with --resume"
            ) from error

    def read_keep_logs(self) -> list[KeepLog]:
        """The looks at `keep` in metrics.jsonl, in order.

        Raises:
            EffaceError: A line is damaged.
        """
        if not self.metrics.is_file():
            return []
        try:
            lines = [parse_json(line) for line in self.metrics.read_text(encoding="utf-8").splitlines() if line]
            return [KeepLog(**each) for each in lines if isinstance(each, dict) and "kept_at_least" in each]
        except (ValueError, TypeError) as error:
            raise EffaceError(f"{self.metrics} is damaged; start over in another --out") from error

    def drop_steps_after(self, step: int) -> None:
        """Remove the lines of metrics.jsonl after a step, with -1 all: these steps will be trained again."""
        if self.metrics.is_file():
            lines = self.metrics.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            write_text(self.metrics, "".join(line for line in lines if _step(line) <= step))

    def read_records(self, stage: str, sets: Iterable[str]) -> RecordSets | None:
        """The records of a stage: `before`, `after` or `epoch_stage(n)`; None unless every set is complete.

        Args:
            stage: As in `RunPaths.records`.
            sets: Names of the evaluation sets that must exist.
        """
        folder = self.records(stage)
        if not all((folder / f"{name}.jsonl").is_file() for name in sets):
            return None
        return read_record_sets(folder)

    def write_records(self, stage: str, records: RecordSets) -> None:
        """Write the records of a stage: `before`, `after` or `epoch_stage(n)`."""
        write_record_sets(self.records(stage), records)

    def read_downstream(self, stage: Stage) -> Downstream | None:
        """The scores on downstream tasks of a stage; None where there are none yet.

        Raises:
            EffaceError: The file is damaged.
        """
        path = self.downstream(stage)
        if not path.is_file():
            return None
        try:
            return Downstream.model_validate_json(read_checked(path))
        except ValidationError as error:
            raise EffaceError(f"{path} is damaged; remove it to score the tasks again") from error

    def write_downstream(self, stage: Stage, scores: Downstream) -> None:
        """Write the scores on downstream tasks of a stage."""
        write_json(self.downstream(stage), scores.to_json())

    def read_results(self) -> Results | None:
        """The results of a complete run; None where the run is not complete.

        Raises:
            EffaceError: The file is damaged.
        """
        path = self.results
        if not path.is_file():
            return None
        try:
            return Results.model_validate_json(read_checked(path))
        except ValidationError as error:
            raise EffaceError(f"{path} is damaged; start over in another --out") from error

    def write_results(self, results: Results | ContinualResults) -> None:
        """Write results.json: the run is complete."""
        write_json(self.results, results.to_json())


def claims_folder(folder_class: type[RunFolder]) -> Callable[[CommandT], CommandT]:
    """Decorate a command: from its start to its end it holds its folder, after one check of it.

    Args:
        folder_class: The class of its folder, which defines the check.

    Returns:
        A decorator of functions of a config, a folder, and maybe the keyword `resume`.
    """

    def decorate(command: CommandT) -> CommandT:
        @wraps(command)
        def claimed(config: BaseModel, out: Path, *args: Any, **options: Any) -> Any:
            with folder_class(out).claimed(config, resume=bool(options.get("resume"))):
                return command(config, out, *args, **options)

        return cast(CommandT, claimed)

    return decorate


def _step(line: str) -> float:
    try:
        return float(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError):  # truncated by a kill, damaged, or not written by efface
        return float("inf")
