"""Paths in the folders that efface writes: of a run, of a queue of requests, of a sweep. No torch.

Every path in such a folder is defined here alone. Evaluations and fine-tunings write some of the files of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from efface.renamed import FILES

Stage = Literal["before", "after"]
"""Before or after unlearning."""
STAGES: tuple[Stage, ...] = ("before", "after")

CONFIG, MANIFEST, RESULTS, SCORES = "config.yaml", "manifest.json", "results.json", "scores.json"
MODEL_ANSWERS, AUDIT_ROWS, REPORT, SWEEP_TABLE = "model_answers.jsonl", "rows.jsonl", "report.html", "table.json"


def epoch_stage(epoch: int) -> str:
    """The stage of `RunPaths.records` at the end of an epoch, counted from 1."""
    return f"epochs/{epoch:03d}"


@dataclass(frozen=True)
class RunPaths:
    """Paths in the folder of one run."""

    root: Path

    @property
    def config(self) -> Path:
        """The run's settings, with all defaults."""
        return self.root / CONFIG

    @property
    def manifest(self) -> Path:
        """What made the run: versions, device, hashes."""
        return self.root / MANIFEST

    @property
    def results(self) -> Path:
        """Scores before and after; exists once the run is complete."""
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
    def tracker(self) -> Path:
        """What an experiment tracker writes to disk: the numbers of each step, and the settings of training."""
        return self.root / "tracker"

    @property
    def model(self) -> Path:
        """The unlearned model, an ordinary Hugging Face model folder."""
        return self.root / "model"

    @property
    def adapter(self) -> Path:
        """The LoRA adapter alone, if one was trained."""
        return self.root / "adapter"

    @property
    def before(self) -> Path:
        """The model before unlearning if it was given as an object; an ordinary Hugging Face model folder."""
        return self.root / "before"

    @property
    def inputs(self) -> Path:
        """Rows that were given as objects, as JSON lines: data files of the run."""
        return self.root / "inputs"

    @property
    def model_answers(self) -> Path:
        """The model's own answers, if they are the retain set; JSON lines, as in a data file."""
        return self._named(MODEL_ANSWERS)

    @property
    def checkpoints(self) -> Path:
        """What training needs to resume; removed when the run is complete."""
        return self.root / "checkpoints"

    @property
    def reference_logprobs(self) -> Path:
        """Log-probabilities under the reference model."""
        return self.checkpoints / "reference.json"

    @property
    def reference_states(self) -> Path:
        """Last hidden states of the reference model, of a run by one process."""
        return self.checkpoints / "reference.safetensors"

    def reference_states_of(self, rank: int, world_size: int) -> Path:
        """The same for one of several processes: those that it needs itself."""
        own = self.checkpoints / f"reference-{rank}-of-{world_size}.safetensors"
        return self.reference_states if world_size == 1 else own

    @property
    def epoch_snapshots(self) -> Path:
        """The weights at the end of each epoch, if they are to be scored; removed with the checkpoints."""
        return self.checkpoints / "epochs"

    @property
    def keep_snapshots(self) -> Path:
        """The weights of the last states within the bound of `keep`; removed with the checkpoints."""
        return self.checkpoints / "keep"

    @property
    def records_root(self) -> Path:
        """The records: one folder per stage of a run; in an evaluation, directly in this folder."""
        return self.root / "records"

    def _named(self, name: str) -> Path:
        """A file under its current name, or under an earlier name if only that exists."""
        found = (self.root / old for old, new in FILES.items() if new == name and not (self.root / new).exists())
        return next(filter(Path.exists, found), self.root / name)

    def records(self, stage: str) -> Path:
        """The folder of a stage's records, one SET.jsonl per evaluation set.

        Args:
            stage: `before`, `after` or `epoch_stage(n)`.
        """
        return self.records_root / stage

    def has_records(self, stage: str) -> bool:
        """Whether a stage has records of any set."""
        return any(self.records(stage).glob("*.jsonl"))

    def evaluating(self, stage: str) -> Path:
        """The results of an evaluation in progress; removed once its records are written.

        Args:
            stage: As in `records`; `all` for an evaluation that has one stage.
        """
        return self.root / "evaluating" / stage.replace("/", "-")

    @property
    def audit(self) -> Path:
        """What `efface audit` writes."""
        return self.root / "audit"

    @property
    def audit_rows(self) -> Path:
        """One line per attack, variant, seed and fact: texts that attacks brought back are in it."""
        return self.audit / AUDIT_ROWS

    @property
    def audit_results(self) -> Path:
        """What an audit found, as in results.json."""
        return self.audit / RESULTS

    def downstream(self, stage: Stage | None = None) -> Path:
        """The scores on downstream tasks.

        Args:
            stage: Of a run; None for the file that `efface downstream` writes.
        """
        return self.root / ("downstream.json" if stage is None else f"downstream-{stage}.json")


@dataclass(frozen=True)
class QueuePaths(RunPaths):
    """Paths in the folder of a queue of requests."""

    def request(self, number: int) -> RunPaths:
        """The run's folder of a request, counted from 1."""
        return RunPaths(self.requests_root / f"{number:02d}")

    def requests(self) -> list[RunPaths]:
        """The run's folder of each request that was started, in order."""
        folders = (path for path in self.requests_root.glob("*") if path.name.isdecimal())
        return [RunPaths(path) for path in sorted(folders, key=lambda path: int(path.name))]

    @property
    def requests_root(self) -> Path:
        """The folder of the requests' folders."""
        return self.root / "requests"


@dataclass(frozen=True)
class TunePaths(RunPaths):
    """Paths in the folder of `efface tune`; the others are those of a run of the settings that were found."""

    @property
    def best(self) -> Path:
        """The settings that were found; `efface run` repeats them."""
        return self.root / "best.yaml"

    @property
    def table(self) -> Path:
        """One row per trial."""
        return self.root / "trials.csv"

    @property
    def page(self) -> Path:
        """The report."""
        return self.root / REPORT

    @property
    def target(self) -> Path:
        """The target model of the demo, where none was given."""
        return self.root / "target"

    @property
    def base(self) -> Path:
        """The untrained model from which that is made."""
        return self.root / "base"

    @property
    def search(self) -> Path:
        """A run's folder with the settings that all trials share, and the records before unlearning."""
        return self.root / "search"

    @property
    def study(self) -> Path:
        """The journal of the search."""
        return self.search / "study.jsonl"

    @property
    def search_settings(self) -> Path:
        """What is searched, within which bound."""
        return self.search / "tune.json"

    @property
    def reported(self) -> Path:
        """A run's folder with the records before unlearning of the questions that are reported."""
        return self.search / "reported"

    @property
    def trials(self) -> Path:
        """The folder of the trials' folders."""
        return self.root / "trials"

    def trial(self, number: int) -> Path:
        """A run's folder of a trial, counted from 1."""
        return self.trials / f"{number:03d}"

    def trial_weights(self, number: int) -> Path:
        """The weights of the best candidate of a trial, as long as its model may be chosen."""
        return self.trial(number) / "weights"

    def full_scores(self, number: int) -> Path:
        """The full scores of the best candidate of a trial, counted from 1."""
        return self.trial(number) / "full.json"


def is_run_folder(folder: Path) -> bool:
    """Whether a folder holds, besides its config.yaml, anything that a run or a queue of requests writes."""
    run = QueuePaths(folder)
    written = (run.manifest, run.results, run.scores, run.metrics, run.model, run.records_root, run.checkpoints)
    return any(path.exists() for path in (*written, run.requests_root))


def queue_of(folder: Path) -> QueuePaths | None:
    """The queue that a run's folder is a request of; None for any other folder."""
    parent = folder.absolute().parent
    queue = QueuePaths(parent.parent)
    return queue if queue.requests_root == parent and queue.manifest.is_file() else None


SweepPart = Literal["runs", "targets", "baselines"]
"""A folder of a sweep: its runs, the target models that it fine-tuned, the scores of its baselines."""
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
        """Whether the folder contains any part of a sweep."""
        return any(path.exists() for path in (self.log, self.table, *map(self.part, SWEEP_PARTS)))
