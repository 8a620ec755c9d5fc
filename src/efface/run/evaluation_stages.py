"""The records of a run's model, before and after unlearning: those on disk, or made now."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from efface.artifacts import Record
from efface.evaluation.evaluate import evaluate
from efface.evaluation.judges import Judges
from efface.folders import epoch_stage
from efface.models.dtypes import evaluation_dtype
from efface.models.load import load_model
from efface.run.prepare import Prepared

Records = dict[str, list[Record]]
"""Set name -> one record a question."""


def records_before(this: Prepared, judges: Judges, given: Mapping[str, Sequence[Record]] | None) -> Records:
    """The records of the model before unlearning: those on disk, those given, or made now. The run is then started."""
    original, this.original = this.original, None
    if known := _known(this, "before", "before unlearning"):
        this.start()
        return known
    if given is None:
        with this.stage("evaluate before", "evaluating before unlearning"):
            records = _evaluate(this, judges, original, None)
    else:
        records = {name: list(rows) for name, rows in given.items()}
    this.start()
    this.out.write_records("before", records)
    return records


def records_after(this: Prepared, judges: Judges, before: Records) -> Records:
    """The records of the unlearned model as it lies in the run's folder: those on disk, or made now."""
    return _of_folder(this, judges, before, this.out.model, stage="after", told="after unlearning")


def records_of_epoch(this: Prepared, judges: Judges, before: Records, epoch: int) -> Records:
    """The records at the end of an epoch: those on disk, or made now. The last epoch's model is the run's."""
    stage, told, snapshots = epoch_stage(epoch), f"after epoch {epoch}", this.snapshots
    if snapshots is None or epoch == snapshots.last:
        return _of_folder(this, judges, before, this.out.model, stage=stage, told=told)
    if known := _known(this, stage, told):
        return known
    folder = snapshots.folder / "model"
    snapshots.rebuild(epoch, folder, tokenizer=this.tokenizer, device=this.device)
    free_models()
    records = _of_folder(this, judges, before, folder, stage=stage, told=told)
    shutil.rmtree(folder, ignore_errors=True)  # several processes do
    return records


def free_models() -> None:
    """Free the models that nobody uses: loaders leave reference cycles, which Python takes apart when it likes."""
    gc.collect()
    torch.cuda.empty_cache()


def _of_folder(this: Prepared, judges: Judges, before: Records, folder: Path, *, stage: str, told: str) -> Records:
    if known := _known(this, stage, told):
        return known
    dtype = evaluation_dtype(this.source, this.device, this.config.evaluate.precision)
    with this.stage(f"evaluate {told.removesuffix(' unlearning')}", f"evaluating {told}"):
        model = load_model(folder, dtype=dtype, device=this.device)
        records = _evaluate(this, judges, model, before)
        del model
        free_models()
    this.out.write_records(stage, records)
    return records


def _known(this: Prepared, stage: str, told: str) -> Records | None:
    known = this.out.read_records(stage, [each.name for each in this.task.evaluation])
    if known is not None:
        this.reporter.on_stage(f"evaluated {told} already: {this.out.records(stage)}")
    return known


def _evaluate(this: Prepared, judges: Judges, model: Any, before: Records | None) -> Records:
    return evaluate(
        model,
        this.formatter,
        this.task.evaluation,
        config=this.config.evaluate,
        judges=judges,
        before=before,
        progress=this.reporter.on_progress,
    )
