"""The records of a run's model, before and after unlearning: read from disk, or made now."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from efface import distributed
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import EncodedQuestion, encode_evaluation, warn_about_merged
from efface.evaluation.evaluate import evaluate
from efface.evaluation.journal import Journal, remove_journal
from efface.evaluation.judging.judges import Judges
from efface.files.folders import epoch_stage
from efface.hardware.memory import trim_freed_memory
from efface.main_process import from_main_process, on_main_process
from efface.models.dtypes import dtype_name
from efface.models.folder import combined_sha256, model_sha256
from efface.models.load_parallel import load_to_evaluate
from efface.progress.reporter import Reporter
from efface.records import Record, RecordSets
from efface.run.folder import RunFolder
from efface.run.metadata.metadata import RunMetadata
from efface.run.selection.epoch_snapshots import EpochSnapshots
from efface.schema import EvaluationSet
from efface.text.formatter import PromptFormatter
from efface.train.distribution.parallel import ParallelModel


@dataclass(frozen=True)
class EvaluationStages:
    """Evaluates the models of one run, all in the same way.

    Every stage writes its records and is skipped where these are on disk already. Of several processes, the main one
    alone has them: elsewhere, what is returned has no sets.
    """

    folder: RunFolder
    sets: Sequence[EvaluationSet]
    config: EvaluateConfig
    judges: Judges
    formatter: PromptFormatter
    device: torch.device
    dtype: torch.dtype
    """In which models are loaded to be evaluated."""
    metadata: RunMetadata
    reporter: Reporter
    _encoded: list[EncodedQuestion] = field(default_factory=list, init=False)
    """The questions as token ids, once a stage has needed them; they are the same for every model of the run."""

    def check(self, model: Any) -> None:
        """Check that every question leaves space for an output, and warn about tokens across the border of an answer.

        Raises:
            EffaceError: A question does not.
        """
        warn_about_merged(self._encode(model), self.formatter.config.boundary, self.reporter.on_warning)

    def before(self, model: ParallelModel, given: Mapping[str, Sequence[Record]] | None) -> RecordSets:
        """The records of the model before unlearning; the run is then started.

        Args:
            model: The model before unlearning.
            given: Its records, where they were already made elsewhere: set name -> records, in the main process.

        Raises:
            EffaceError: A question leaves no space for an output, or a file cannot be written.
        """
        known = self._read("before", "before unlearning")
        if known is not None:
            self.metadata.start()
            return known
        if given is not None:
            self.metadata.start()
            records = {name: list(rows) for name, rows in given.items()}
            self.folder.write_records("before", records)
            return records
        self.reporter.on_stage("evaluating before unlearning")
        journal = self._journal("before", self.metadata.manifest.model_sha256)
        with removed_if_refused(self.folder, self.metadata, journal), self.metadata.stage("evaluate before"):
            records = self._evaluate(model, before=None, journal=journal)
        self.metadata.start()
        self.folder.write_records("before", records)
        journal.remove()
        return records

    def after(self, before: RecordSets) -> RecordSets:
        """The records of the unlearned model in the run's folder.

        Args:
            before: The records of the model before unlearning.

        Raises:
            EffaceError: A file cannot be written.
        """
        return self._of_folder(self.folder.model, before, stage="after", name="after", when="after unlearning")

    def after_epoch(self, epoch: int, before: RecordSets, snapshots: EpochSnapshots) -> RecordSets:
        """The records of the model at the end of an epoch.

        Args:
            epoch: Counted from 1.
            before: The records of the model before unlearning.
            snapshots: Rebuild the model, except that of the last epoch, which is in the run's folder.

        Raises:
            EffaceError: The weights of the epoch are missing, or a file cannot be written.
        """
        stage, when = epoch_stage(epoch), f"after epoch {epoch}"
        if epoch == snapshots.last:
            return self._of_folder(self.folder.model, before, stage=stage, name=when, when=when)
        known = self._read(stage, when)
        if known is not None:
            return known
        folder = snapshots.folder / "model"
        snapshots.rebuild(epoch, folder)
        free_models()
        records = self._of_folder(folder, before, stage=stage, name=when, when=when)
        shutil.rmtree(folder, ignore_errors=True)  # by several processes at once
        return records

    def _of_folder(self, folder: Path, before: RecordSets, *, stage: str, name: str, when: str) -> RecordSets:
        known = self._read(stage, when)
        if known is not None:
            return known
        self.reporter.on_stage(f"evaluating {when}")
        journal = self._journal(stage, self._digest(folder))
        with self.metadata.stage(f"evaluate {name}"):
            model = load_to_evaluate(folder, self.config, dtype=self.dtype, device=self.device)
            records = self._evaluate(model, before=before, journal=journal)
            del model
            free_models()
        self.folder.write_records(stage, records)
        journal.remove()
        return records

    def _digest(self, folder: Path) -> str:
        """A digest of a model: of its sums in the manifest, without reading it again, where the manifest has them."""
        sums = self.metadata.sums_below(folder)
        return from_main_process(lambda: combined_sha256(sums) if sums else model_sha256(folder))

    def _journal(self, stage: str, model: str) -> Journal:
        """The batches of a stage that are on disk, and where further ones go."""
        return open_journal(self.folder.evaluating(stage), model, self.config, device=self.device, dtype=self.dtype)

    def _read(self, stage: str, when: str) -> RecordSets | None:
        known = on_main_process(lambda: self.folder.read_records(stage, [each.name for each in self.sets]))
        if not from_main_process(lambda: known is not None):
            return None
        remove_journal(self.folder.evaluating(stage))
        self.reporter.on_stage(f"evaluated {when} already: {self.folder.records(stage)}")
        return known or {}

    def _evaluate(self, parallel_model: ParallelModel, *, before: RecordSets | None, journal: Journal) -> RecordSets:
        return parallel_model.forward_in_step(
            lambda model: evaluate(
                model,
                self.formatter,
                self.sets,
                config=self.config,
                judges=self.judges,
                before=before,
                questions=self._encode(model),
                progress=self.reporter.on_progress,
                journal=journal,
                on_ready=self.metadata.start,  # the results of each batch are written from now on
            )
        )

    def _encode(self, model: Any) -> Sequence[EncodedQuestion]:
        """The questions as token ids, encoded once for the models of all stages."""
        if not self._encoded:
            self._encoded.extend(encode_evaluation(model, self.formatter, self.sets, self.config))
        return self._encoded


def open_journal(
    folder: Path, model: str, config: EvaluateConfig, *, device: torch.device, dtype: torch.dtype
) -> Journal:
    """The results of an evaluation that was stopped, if it was the same one.

    Args:
        folder: Where they are, or will be.
        model: SHA-256 of the model.
        config: How it is evaluated.
        device: Where the model computes.
        dtype: Of the model.
    """
    made_by = {
        "model": model,
        "max_new_tokens": config.max_new_tokens,
        "judge": config.judge,
        "dtype": dtype_name(dtype),
        "device": device.type,
        "torch": torch.__version__,
        **({} if config.engine == "efface" else {"engine": config.engine}),
    }
    return Journal(folder, made_by)


@contextmanager
def removed_if_refused(folder: RunFolder, metadata: RunMetadata, journal: Journal) -> Iterator[None]:
    """If the evaluation in the block is refused, nothing stays of a folder that was started for its results.

    Args:
        folder: The folder.
        metadata: Started in the block.
        journal: Gets the results.

    Raises:
        EffaceError: The evaluation in the block was refused.
    """
    was_started = folder.config.is_file()
    try:
        yield
    except EffaceError:
        if not was_started and distributed.world_size() == 1:  # another process may not have failed
            journal.remove()
            metadata.undo_start()
        raise


def free_models() -> None:
    """Free the memory of models that are no longer used: loaders leave reference cycles, which Python frees late."""
    gc.collect()
    trim_freed_memory()
    torch.cuda.empty_cache()
