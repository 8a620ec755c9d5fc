"""What lies where in the folders that efface writes: of a run, of a queue of requests, of a sweep. No torch.

Every path inside such a folder is made here and nowhere else. An evaluation (`efface evaluate`) and a fine-tuning
(`efface finetune`) leave a part of what a run leaves, under the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from efface.renamed import FILES

Stage = Literal["before", "after"]
"""Of a run: before unlearning or after."""
STAGES: tuple[Stage, ...] = ("before", "after")

CONFIG, MANIFEST, RESULTS, SCORES = "config.yaml", "manifest.json", "results.json", "scores.json"
SWEEP_TABLE = "table.json"


def epoch_stage(epoch: int) -> str:
    """The stage of `RunPaths.records` at the end of an epoch, counted from 1."""
    return f"epochs/{epoch:03d}"


@dataclass(frozen=True)
class RunPaths:
    """Paths in the folder of one run."""

    root: Path

    @property
    def config(self) -> Path:
        """The run's settings, every default spelled out."""
        return self.root / CONFIG

    @property
    def manifest(self) -> Path:
        """What made the run: versions, device, hashes."""
        return self.root / MANIFEST

    @property
    def results(self) -> Path:
        """Scores before and after; there once the run is complete."""
        return self.root / RESULTS

    @property
    def scores(self) -> Path:
        """Scores of one model, which `efface evaluate` writes."""
        return self.root / SCORES

    @property
    def metrics(self) -> Path:
        """One line per optimizer step."""
        return self.root / "metrics.jsonl"

    @property
    def model(self) -> Path:
        """The unlearned model, an ordinary Hugging Face folder."""
        return self.root / "model"

    @property
    def adapter(self) -> Path:
        """The LoRA adapter alone, where one was trained."""
        return self.root / "adapter"

    @property
    def before(self) -> Path:
        """The model before unlearning where it was given as an object, an ordinary Hugging Face folder."""
        return self.root / "before"

    @property
    def inputs(self) -> Path:
        """Rows that were given as objects, as JSON lines: what the run is repeated from."""
        return self.root / "inputs"

    @property
    def model_answers(self) -> Path:
        """The model's answers to generic questions, where they are the retain set; JSON lines like a user's file."""
        return self._named("model_answers.jsonl")

    @property
    def checkpoints(self) -> Path:
        """What training needs to go on; removed when the run is complete."""
        return self.root / "checkpoints"

    @property
    def reference_logprobs(self) -> Path:
        """The reference's log-probabilities."""
        return self.checkpoints / "reference.json"

    @property
    def reference_states(self) -> Path:
        """The reference's last hidden states."""
        return self.checkpoints / "reference.safetensors"

    @property
    def epoch_snapshots(self) -> Path:
        """The weights at the end of each epoch, where these are to be scored; removed with the checkpoints."""
        return self.checkpoints / "epochs"

    @property
    def records_root(self) -> Path:
        """The folder of the records: of each stage in a run, of the only model in an evaluation."""
        return self.root / "records"

    def _named(self, name: str) -> Path:
        """A file under its current name, or under the old one where only that is there."""
        found = (self.root / old for old, new in FILES.items() if new == name and not (self.root / new).exists())
        return next(filter(Path.exists, found), self.root / name)

    def records(self, stage: str) -> Path:
        """The folder of a stage's records, SET.jsonl: `before`, `after` or `epoch_stage(n)`."""
        return self.records_root / stage

    def has_records(self, stage: str) -> bool:
        """Whether a stage has records of any set."""
        return any(self.records(stage).glob("*.jsonl"))

    def downstream(self, stage: Stage | None = None) -> Path:
        """The scores on downstream tasks of a stage; None for those that `efface downstream` writes."""
        return self.root / ("downstream.json" if stage is None else f"downstream-{stage}.json")


@dataclass(frozen=True)
class QueuePaths(RunPaths):
    """Paths in the folder of a queue of requests."""

    def request(self, number: int) -> RunPaths:
        """The run's folder of a request, counted from 1."""
        return RunPaths(self._requests / f"{number:02d}")

    def requests(self) -> list[RunPaths]:
        """The run's folder of each request that was started, in order."""
        folders = (path for path in self._requests.glob("*") if path.name.isdecimal())
        return [RunPaths(path) for path in sorted(folders, key=lambda path: int(path.name))]

    @property
    def _requests(self) -> Path:
        return self.root / "requests"


SweepPart = Literal["runs", "targets", "baselines"]
"""A folder of a sweep: its runs, the models that it made, the scores of its baselines."""
SWEEP_PARTS: tuple[SweepPart, ...] = ("runs", "targets", "baselines")


@dataclass(frozen=True)
class SweepPaths:
    """Paths in the folder of a sweep."""

    root: Path

    @property
    def log(self) -> Path:
        """One line per run that ended."""
        return self.root / "runs.jsonl"

    @property
    def table(self) -> Path:
        """The table of all runs."""
        return self.root / SWEEP_TABLE

    def part(self, part: SweepPart) -> Path:
        """The folder of the sweep's runs, targets or baselines."""
        return self.root / part

    def holds_sweep(self) -> bool:
        """Whether anything of a sweep is here."""
        return any(path.exists() for path in (self.log, self.table, *map(self.part, SWEEP_PARTS)))
