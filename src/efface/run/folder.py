"""A run's folder: what lies where, and which parts are already done."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from efface import distributed
from efface.artifacts import ContinualResults, Downstream, Manifest, Record, Results
from efface.atomic import write_json, write_text
from efface.config.parse import read_saved_settings, to_yaml
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets, write_record_sets
from efface.train.loop import StepLog


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run. Every file appears whole or not at all."""

    root: Path

    @property
    def config(self) -> Path:
        """The run's settings, every default spelled out."""
        return self.root / "config.yaml"

    @property
    def model(self) -> Path:
        """The unlearned model, an ordinary Hugging Face folder."""
        return self.root / "model"

    @property
    def adapter(self) -> Path:
        """The LoRA adapter alone, where one was trained."""
        return self.root / "adapter"

    @property
    def metrics(self) -> Path:
        """One line per optimizer step."""
        return self.root / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """What training needs to go on; removed when the run is complete."""
        return self.root / "checkpoints"

    @property
    def reference(self) -> Path:
        """The reference's log-probabilities."""
        return self.checkpoints / "reference.json"

    @property
    def states(self) -> Path:
        """The reference's last hidden states."""
        return self.checkpoints / "reference.safetensors"

    @property
    def snapshots(self) -> Path:
        """The weights at the end of each epoch, where these are to be scored; they go with the checkpoints."""
        return self.checkpoints / "epochs"

    @property
    def own_answers(self) -> Path:
        """The model's own answers to generic questions, where they are what to keep: JSON lines like a user's own."""
        return self.root / "own_answers.jsonl"

    @property
    def inputs(self) -> Path:
        """Rows that were given as objects, as JSON lines: what the run is repeated from."""
        return self.root / "inputs"

    @property
    def before(self) -> Path:
        """The model before unlearning where it was given as an object, an ordinary Hugging Face folder."""
        return self.root / "before"

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
        return path.name.endswith(".partial") or path in (self.inputs, self.before, self.own_answers)

    def start(self, config: BaseModel, manifest: Manifest) -> None:
        """Write the run's settings and its manifest, once every process has checked the folder."""
        distributed.barrier()
        write_text(self.config, to_yaml(config))
        self.write_manifest(manifest)

    def manifest(self) -> Manifest | None:
        """The manifest of a run that was started here. Raises `EffaceError` for a damaged one."""
        path = self.root / "manifest.json"
        if not path.is_file():
            return None
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise EffaceError(f"{path} is damaged; start anew in another --out") from error

    def write_manifest(self, manifest: Manifest) -> None:
        """Write manifest.json anew."""
        write_json(self.root / "manifest.json", manifest.model_dump())

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

    def records(self, stage: str, sets: list[str]) -> dict[str, list[Record]] | None:
        """The records of `before` or `after`, if those of every set are there."""
        folder = self.root / "records" / stage
        if not all((folder / f"{name}.jsonl").is_file() for name in sets):
            return None
        return read_record_sets(folder)

    def write_records(self, stage: str, records: dict[str, list[Record]]) -> None:
        """Write the records of `before` or `after`."""
        write_record_sets(self.root / "records" / stage, records)

    def downstream(self, stage: str) -> Downstream | None:
        """The scores on downstream tasks `before` or `after`, if they are there. Raises `EffaceError` if damaged."""
        path = self._downstream(stage)
        if not path.is_file():
            return None
        try:
            return Downstream.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise EffaceError(f"{path} is damaged; remove it, and the tasks are scored again") from error

    def write_downstream(self, stage: str, scores: Downstream) -> None:
        """Write the scores on downstream tasks `before` or `after`."""
        write_json(self._downstream(stage), scores.to_json())

    def _downstream(self, stage: str) -> Path:
        return self.root / f"downstream-{stage}.json"

    def results(self) -> Results | None:
        """The results of a complete run; None for one that is not. Raises `EffaceError` for a damaged file."""
        path = self.root / "results.json"
        if not path.is_file():
            return None
        try:
            return Results.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise EffaceError(f"{path} is damaged; start anew in another --out") from error

    def write_results(self, results: Results | ContinualResults) -> None:
        """Write results.json: the run is complete."""
        write_json(self.root / "results.json", results.to_json())


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except ValueError:  # the line that a kill cut short
        return float("inf")
