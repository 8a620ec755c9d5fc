"""`efface purge`: remove the texts of a run, a queue or a sweep, and leave what shows what was done. No torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from efface.artifacts.manifest import PURGED, Manifest
from efface.artifacts.saved_manifest import read_manifest
from efface.commands.verify import find_runs
from efface.config.saved_settings import read_saved_settings
from efface.data.given_files import find_given, given_files
from efface.errors import EffaceError
from efface.files.atomic import write_json
from efface.files.folder_lock import is_lock, lock_folder
from efface.files.folders import SWEEP_PARTS, QueuePaths, RunPaths, SweepPaths, TunePaths, queue_of
from efface.files.permissions import readable
from efface.files.safe_read import open_regular
from efface.renamed import FILES
from efface.report.recognize import is_report

Kept = Literal["model", "results", "record"]
KEPT: tuple[Kept, ...] = get_args(Kept)
"""What `--keep` may name: the unlearned model, the scores, evidence records of `efface record make`."""

_ENVELOPE = b'"payloadType":"application/vnd.in-toto+json"'
_REPORTS = {f"report{suffix}" for suffix in (".html", ".md", ".csv", ".tex")}
_HEAD_BYTES = 1 << 20
"""How much of a file is read to find out whether it is a report or a record, at most."""


@dataclass(frozen=True)
class Purge:
    """What is removed of a folder, and what stays."""

    removed: tuple[Path, ...]
    """Files and folders."""
    n_bytes: int
    """Their size."""
    unknown: tuple[Path, ...]
    """In the folder, but not recognized as written by efface, or a link to another place: left."""
    outside: tuple[str, ...]
    """Data files and models that the runs were made of, where they are still there: left."""


@dataclass
class _Plan:
    runs: dict[Path, list[Path]] = field(default_factory=dict)
    """A run's folder -> what is removed of it."""
    others: list[Path] = field(default_factory=list)
    """What is removed of a sweep's own files."""
    unknown: list[Path] = field(default_factory=list)

    @property
    def removed(self) -> list[Path]:
        return [*(path for paths in self.runs.values() for path in paths), *self.others]


def purge(path: Path, *, keep: Collection[Kept] = KEPT, dry_run: bool = False) -> Purge:
    """Remove records, inputs, reports, answers, caches and checkpoints, and each model that still knows the texts.

    Those are the model before unlearning where efface wrote it: a copy of an object, the target of a sweep, the models
    that earlier requests of a queue left. Settings and manifests stay. The manifests name what was removed before
    anything is, so that the same call completes what a kill interrupted.

    Args:
        path: The folder of a run, an evaluation, a fine-tuning, a queue or a sweep.
        keep: What stays of the model, the results and the evidence records.
        dry_run: Change nothing.

    Returns:
        What was, or would be, removed.

    Raises:
        EffaceError: There is no run, its manifest is damaged, or a process writes to it.
    """
    _check(path)
    if dry_run:
        plan = _plan(path, keep)
        return _summary(path, plan)
    with ExitStack() as locks:
        for folder in (*_enclosing(path), path, *find_runs(path)):
            locks.enter_context(lock_folder(folder, remedy="wait until that has ended, or end it, then purge again"))
        plan = _plan(path, keep)
        summary = _summary(path, plan)
        for root, paths in plan.runs.items():
            _note(root, paths)
        for each in plan.removed:
            _remove(each)
    return summary


def _check(path: Path) -> None:
    if not path.is_dir():
        problem = "is a file" if path.exists() else "does not exist"
        raise EffaceError(f"{path} {problem}; give the folder of a run, the --out of efface run")
    if not RunPaths(path).manifest.is_file() and not SweepPaths(path).holds_sweep():
        raise EffaceError(f"{path} is no run, queue or sweep, so nothing in it is removed; give the folder of one")


def _enclosing(path: Path) -> Iterator[Path]:
    """The folder of the queue or sweep that a run is part of, which a process may hold while it is between runs."""
    for folder in path.absolute().parents[1:4]:
        if path.absolute().relative_to(folder).parts[0] in SWEEP_PARTS and SweepPaths(folder).holds_sweep():
            yield folder
    if (queue := queue_of(path)) is not None:
        yield queue.root


# What is removed


def _plan(path: Path, keep: Collection[Kept]) -> _Plan:
    plan = _Plan()
    for root in find_runs(path):
        knowing = root != path and (_is_target(root) or _is_earlier_request(root))
        selected = _removed_of_run(root, keep, keeps_model=not knowing)
        plan.runs[root] = _select(root, selected, keep, plan.unknown)
    if path not in plan.runs:
        sweep = SweepPaths(path)
        plan.others = _select(path, set() if "results" in keep else {sweep.table, sweep.log}, keep, plan.unknown)
    return plan


def _select(root: Path, selected: set[Path], keep: Collection[Kept], unknown: list[Path]) -> list[Path]:
    """What is removed of a folder; what is not recognized as written by efface is added to `unknown`."""
    known = _removed_of_run(root, (), keeps_model=False) | {SweepPaths(root).table, SweepPaths(root).log}
    removed = []
    for path in _entries(root):
        if path.is_symlink():
            unknown.append(path)
        elif path in selected or path.name.endswith(".partial") or _is_written_later(path, keep):
            removed.append(path)
        elif path not in known and not _is_record(path):
            unknown.append(path)
    return removed


def _entries(root: Path) -> Iterator[Path]:
    """What is in a folder, except locks, settings, manifest, and the folders of other runs."""
    own = {RunPaths(root).config, RunPaths(root).manifest, *_parts_of_search(root)}
    parts = {QueuePaths(root).requests_root, *map(SweepPaths(root).part, SWEEP_PARTS)}
    audit = RunPaths(root).audit
    paths = [*(audit.iterdir() if audit.is_dir() and not audit.is_symlink() else ()), *root.iterdir()]
    return (each for each in sorted(paths) if each not in own | parts | {audit} and not is_lock(each))


def _removed_of_run(root: Path, keep: Collection[Kept], *, keeps_model: bool) -> set[Path]:
    run = RunPaths(root)
    removed = {run.records_root, run.inputs, run.before, run.model_answers, run.checkpoints, run.evaluating("x").parent}
    removed |= {run.audit_rows, *(root / old for old in FILES), *_texts_of_search(root)}
    if "model" not in keep or not keeps_model:
        removed |= {run.model, run.adapter}
    if "results" not in keep:
        removed |= {run.results, run.scores, run.metrics, run.tracker}  # numbers and settings of training, no texts
        removed |= {run.audit_results}
        removed |= {run.downstream(), run.downstream("before"), run.downstream("after")}
    return removed


def _texts_of_search(root: Path) -> set[Path]:
    """Records and weights of trials; of the folder `search` within, the records of the questions that are reported."""
    found, outer = TunePaths(root), TunePaths(root.parent)
    if found.search_settings.is_file():
        return {found.trials}
    return {outer.reported} if root == outer.search and outer.search_settings.is_file() else set()


def _parts_of_search(root: Path) -> set[Path]:
    """What `efface tune` writes besides the files of a run: settings, numbers, and the folders of other runs."""
    found, outer = TunePaths(root), TunePaths(root.parent)
    if found.search_settings.is_file():
        return {found.best, found.table, found.search, found.target, found.base}
    return {outer.study, outer.search_settings} if root == outer.search else set()


def _is_target(root: Path) -> bool:
    """Whether a sweep or the demo made this model to unlearn from it, and did not leave out the forget set."""
    if root == TunePaths(root.parent).target and TunePaths(root.parent).search_settings.is_file():
        return True
    if root.parent != SweepPaths(root.parent.parent).part("targets"):
        return False
    return read_saved_settings(RunPaths(root).config).get("without") is None


def _is_earlier_request(root: Path) -> bool:
    """Whether a request left a model, and a later one of its queue did, too."""
    queue = queue_of(root)
    requests = [each.root for each in queue.requests() if each.model.is_dir()] if queue else []
    return root.absolute() in requests[:-1]


def _is_written_later(path: Path, keep: Collection[Kept]) -> bool:
    """Whether it is a report, or a record that is not kept, under whatever name."""
    if not path.is_file():
        return False
    return path.name in _REPORTS or is_report(path.name, _head(path)) or ("record" not in keep and _is_record(path))


def _is_record(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".json", ".jsonl") and _ENVELOPE in _head(path)


def _head(path: Path) -> bytes:
    """Its first bytes; none of a file that this user may not read, which is then named as one that stays."""
    with suppress(OSError), open_regular(path) as file:
        return file.read(_HEAD_BYTES)
    return b""


# Removing


def _note(root: Path, paths: Iterable[Path]) -> None:
    """Add to the manifest what is about to be removed, and remove the digests of texts from it."""
    manifest = read_manifest(root)
    names = sorted({*manifest.purged, *(path.relative_to(root).as_posix() for path in paths)})
    noted = manifest.model_copy(update={"purged": names, "data": _without_digests(root, manifest)})
    kept = {
        key: {name: each for name, each in sums.items() if not noted.is_purged(name)}
        for key, sums in (("files", manifest.files), ("writing", manifest.writing))
        if sums is not None
    }
    noted = noted.model_copy(update=kept)
    if noted != manifest:
        private = not RunPaths(root).manifest.stat().st_mode & 0o077
        with readable(root, private=private):
            write_json(RunPaths(root).manifest, noted.model_dump())


def _without_digests(root: Path, manifest: Manifest) -> dict[str, str]:
    """The data of a run, without the SHA-256 of files that a user gave; without any if its settings are damaged."""
    try:
        settings = read_saved_settings(RunPaths(root).config)
        files = given_files({**settings, "data": {**settings["data"]}})
    except (EffaceError, AttributeError, LookupError, TypeError, OSError):
        return dict.fromkeys(manifest.data, PURGED)
    return {source: digest if find_given(source, files) is None else PURGED for source, digest in manifest.data.items()}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()  # of the audit, if it is empty


def _summary(path: Path, plan: _Plan) -> Purge:
    n_bytes = sum(file.lstat().st_size for each in plan.removed for file in _files(each))
    return Purge(tuple(plan.removed), n_bytes, tuple(plan.unknown), tuple(_outside(path, plan.runs)))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


def _outside(path: Path, roots: Iterable[Path]) -> list[str]:
    """What the runs were made of, as far as the manifests name it and it is there, and not in the folder."""
    manifests = [read_manifest(root) for root in roots]
    names = dict.fromkeys(name for each in manifests for name in (*each.data, each.model))
    places = {name: Path(name).expanduser().absolute() for name in names}
    return [name for name, place in places.items() if place.exists() and path.absolute() not in place.parents]
