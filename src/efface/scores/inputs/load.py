"""Load the questions of each set from a run's folder, a folder of records, or an eval log of other code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from efface.artifacts.saved_manifest import lost_records_by_purge
from efface.errors import EffaceError, suggest
from efface.files.folders import STAGES, RunPaths, Stage
from efface.records import stream_records
from efface.scores.custom import RecordMetric
from efface.scores.inputs.eval_logs import read_log
from efface.scores.inputs.from_records import from_records
from efface.scores.inputs.metric_inputs import MetricInputs
from efface.scores.sets import check_names


def load(path: Path, *, stage: Stage, metrics: Sequence[RecordMetric] = ()) -> dict[str, Iterable[MetricInputs]]:
    """Load metric inputs.

    Args:
        path: A run's folder, a folder of records, or an eval log.
        stage: Which records of a run to read, before or after unlearning.
        metrics: Custom metrics to apply to records.

    Returns:
        Set name -> metric inputs of its questions. Records are read one at a time, during the iteration, which is
        possible once.

    Raises:
        EffaceError: When `path` is neither records nor an eval log, or is damaged; damaged records raise it during the
            iteration.
    """
    if stage not in STAGES:
        raise EffaceError(f"a run has no stage {stage!r}; {suggest(stage, STAGES)}")
    if path.is_dir():
        return _read_folder(path, stage, metrics)
    if not path.exists():
        raise EffaceError(f"{path} does not exist; give a run's folder or the file of an eval log")
    return {**read_log(path)}


def _read_folder(path: Path, stage: Stage, metrics: Sequence[RecordMetric]) -> dict[str, Iterable[MetricInputs]]:
    # a run's folder, or one of `efface evaluate`: only files in records/ are sets
    paths = RunPaths(path)
    folder = paths.records_root if paths.records_root.is_dir() else path
    if lost_records_by_purge(path):
        raise EffaceError(
            f"{path} was purged: its records are gone, so it cannot be scored again; give a run that has them"
        )
    if folder is path and paths.manifest.is_file():
        raise EffaceError(f"{path} holds no records: its model was not evaluated; run efface evaluate first")
    if any((folder / each).is_dir() for each in STAGES):
        folder /= stage
    files = {file.stem: file for file in sorted(folder.glob("*.jsonl"))}
    if not files:
        raise EffaceError(
            f"{path} holds no records of the stage {stage!r} (records/{stage}/SET.jsonl); "
            "give the folder of a run that has been evaluated, or the file of an eval log"
        )
    check_names(files, where=str(folder))
    return {name: _read_set(name, file, metrics) for name, file in files.items()}


def _read_set(name: str, file: Path, metrics: Sequence[RecordMetric]) -> Iterable[MetricInputs]:
    if file.stat().st_size == 0:
        raise EffaceError(f"{file}: the set {name} has no questions; run the evaluation again")
    return from_records(name, stream_records(file), where=str(file), metrics=metrics)
