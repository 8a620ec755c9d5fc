"""A run's folder: what lies where, and which parts are already done."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ValidationError

from efface import distributed
from efface.artifacts import ContinualResults, Downstream, Manifest, Record, Results
from efface.atomic import write_json, write_text
from efface.config.parse import read_saved_settings, to_yaml
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets, write_record_sets
from efface.folders import RunPaths, Stage
from efface.train.loop import StepLog


class RunFolder(RunPaths):
    """The folder of one run, to read and write. Every file appears whole or not at all."""

    def check(self, config: BaseModel, *, resume: bool) -> None:
        """Check that a run may be written here; writes nothing.

        Raises `EffaceError` where the folder holds something else, a run that was not asked to be resumed, or
        one with other settings, and where it cannot be written.
        """
        if self.root.exists() and not self.root.is_dir():
            raise EffaceError(f"--out {self.root} is a file; give a folder")
        there = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        if not os.access(there, os.W_OK):
            raise EffaceError(f"--out {self.root}: {there} cannot be written; choose another folder")
        if self.config.is_file():
            if not resume:
                raise EffaceError(
                    f"--out {self.root} already holds a run; go on with --resume or choose another folder"
                )
            if read_saved_settings(self.config) != config.model_dump(mode="json"):
                raise EffaceError(
                    f"--resume: {self.config} has other settings than these; give the same ones or another --out"
                )
        elif self.root.is_dir() and any(not self._may_come_first(path) for path in self.root.iterdir()):
            raise EffaceError(f"--out {self.root} is not empty and holds no run; choose another folder")

    def _may_come_first(self, path: Path) -> bool:
        """Whether a folder without a config may hold this: what a kill left behind, or what the library put there."""
        return path.name.endswith(".partial") or path in (self.inputs, self.before, self.model_answers)

    def start(self, config: BaseModel, manifest: Manifest) -> None:
        """Write the run's settings and its manifest, once every process has checked the folder."""
        distributed.barrier()
        write_text(self.config, to_yaml(config))
        self.write_manifest(manifest)

    def read_manifest(self) -> Manifest | None:
        """The manifest of a run that was started here. Raises `EffaceError` for a damaged one."""
        path = self.manifest
        if not path.is_file():
            return None
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise EffaceError(f"{path} is damaged; start anew in another --out") from error

    def write_manifest(self, manifest: Manifest) -> None:
        """Write manifest.json anew."""
        write_json(self.manifest, manifest.model_dump())

    def append_step(self, log: StepLog) -> None:
        """Add a line to metrics.jsonl. Raises `EffaceError` when the disk is full."""
        if not distributed.is_main_process():
            return
        size = self.metrics.stat().st_size if self.metrics.is_file() else 0
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(log)) + "\n")
        except OSError as error:
            if self.metrics.is_file():
                os.truncate(self.metrics, size)  # no half a line
            raise EffaceError(
                f"cannot write {self.metrics}: {error.strerror}; free some space, then go on with --resume"
            ) from error

    def forget_steps_after(self, step: int) -> None:
        """Drop the lines of steps that will be trained again."""
        if self.metrics.is_file():
            lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text(self.metrics, "".join(line for line in lines if _step(line) <= step))

    def read_records(self, stage: str, sets: list[str]) -> dict[str, list[Record]] | None:
        """The records of `before` or `after`, if those of every set are there."""
        folder = self.records(stage)
        if not all((folder / f"{name}.jsonl").is_file() for name in sets):
            return None
        return read_record_sets(folder)

    def write_records(self, stage: str, records: dict[str, list[Record]]) -> None:
        """Write the records of `before` or `after`."""
        write_record_sets(self.records(stage), records)

    def read_downstream(self, stage: Stage) -> Downstream | None:
        """The scores on downstream tasks `before` or `after`, if they are there. Raises `EffaceError` if damaged."""
        path = self.downstream(stage)
        if not path.is_file():
            return None
        try:
            return Downstream.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise EffaceError(f"{path} is damaged; remove it, and the tasks are scored again") from error

    def write_downstream(self, stage: Stage, scores: Downstream) -> None:
        """Write the scores on downstream tasks `before` or `after`."""
        write_json(self.downstream(stage), scores.to_json())

    def read_results(self) -> Results | None:
        """The results of a complete run; None for one that is not. Raises `EffaceError` for a damaged file."""
        path = self.results
        if not path.is_file():
            return None
        try:
            return Results.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise EffaceError(f"{path} is damaged; start anew in another --out") from error

    def write_results(self, results: Results | ContinualResults) -> None:
        """Write results.json: the run is complete."""
        write_json(self.results, results.to_json())


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except ValueError:  # the line that a kill cut short
        return float("inf")
