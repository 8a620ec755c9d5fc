"""`efface reproduce`: check a run against its manifest, run it again, and compare the numbers."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from efface.artifacts import Manifest
from efface.commands.agreement import Agreement, Value, compare, leaves, read_steps
from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.config.saved_settings import read_saved_settings
from efface.errors import EffaceError
from efface.files.folders import QueuePaths, RunPaths, SweepPaths, TunePaths
from efface.files.sums import file_sum
from efface.frozen import FrozenModel
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import OnceReporter, Reporter
from efface.run.folder import RunFolder
from efface.run.metadata.manifest import changes
from efface.run.pipeline import run as run_pipeline
from efface.run.pipeline import unlearn
from efface.run.preparation.prepare import prepare

_GENERATED = "own answers to "
"""How the source of a model's answers is named: they are computed again by the run."""
_WEIGHTS = (".safetensors",)


class Check(FrozenModel):
    """Something that the manifest has of a run, and what it is now."""

    name: str
    recorded: str | None
    now: str | None
    required: bool
    """Whether the run is another one if this differs."""

    @property
    def is_same(self) -> bool:
        """Whether it has not changed."""
        return self.recorded == self.now


class Reproduction(FrozenModel):
    """What `efface reproduce` prints with `--json`."""

    schema_version: int = Field(default=1, serialization_alias="schema")
    run: str
    out: str
    is_same: bool
    """Whether all numbers and files are the same."""
    checks: tuple[Check, ...]
    numbers: Agreement
    """Of results.json, without an audit, and of each step of training."""
    same_files: tuple[str, ...]
    """Weights and records with the same bytes."""
    different_files: tuple[str, ...]


@quiet_libraries()
def reproduce(run: Path, out: Path, *, data_dir: Path | None, reporter: Reporter) -> Reproduction:
    """Run a run again, and compare.

    Args:
        run: The folder of a finished run of `efface run` or `efface unlearn`.
        out: Where to run it again; new or empty.
        data_dir: Where benchmarks are stored; None for the default.
        reporter: Gets stages, steps, progress and warnings.

    Raises:
        EffaceError: It is no such run, its results are damaged, or its settings, data or model are no longer those of
            its manifest: nothing is written then. Or the run fails.
    """
    folder, reporter = RunFolder(run), OnceReporter(reporter)
    config, manifest = _read_run(folder)
    recorded = _numbers(folder)
    checks = check_run(folder, config, manifest, out, data_dir=data_dir, reporter=reporter)
    _refuse_another_run(run, checks)
    for check in checks:
        if not check.is_same:
            reporter.on_warning(f"{check.name} was {check.recorded} and is {check.now}; numbers may differ")
    repeat = run_pipeline if folder.results.is_file() else unlearn
    repeat(config, out, data_dir=data_dir, reporter=reporter)
    again = RunFolder(out)
    return _compare(folder, manifest, again, checks, compare(recorded, _numbers(again)))


def check_run(
    folder: RunFolder,
    config: RunConfig,
    manifest: Manifest,
    out: Path,
    *,
    data_dir: Path | None,
    reporter: Reporter,
) -> tuple[Check, ...]:
    """Compare settings, data, model, code and versions with the manifest of a run; writes nothing.

    Args:
        folder: Of the run.
        config: Its settings.
        manifest: What it was made from.
        out: Where it will run again.
        data_dir: Where benchmarks are stored.
        reporter: Gets warnings.

    Raises:
        EffaceError: As the run itself would.
    """
    prepared, opened = prepare(
        config, RunFolder(out), data_dir=data_dir, reporter=reporter, resume=False, placeholder_answers=True
    )
    del opened
    gc.collect()  # the run loads the model again
    now = prepared.manifest
    return (*_required(folder, manifest, now), *_others(manifest, now))


def _required(folder: RunFolder, manifest: Manifest, now: Manifest) -> Iterator[Check]:
    def check(name: str, recorded: str | None, found: str | None) -> Check:
        return Check(name=name, recorded=recorded, now=found, required=True)

    if manifest.config_sha256 is not None:
        yield check(folder.config.name, manifest.config_sha256, file_sum(folder.config))
    for source in dict.fromkeys([*manifest.data, *now.data]):
        if not source.startswith(_GENERATED):
            yield check(f"data {source}", manifest.data.get(source), now.data.get(source))
    yield check(f"model {manifest.model}", manifest.model_sha256, now.model_sha256)
    yield check("tokenizer", manifest.tokenizer_sha256, now.tokenizer_sha256)
    if manifest.adapter is not None and now.adapter is not None:
        yield check(f"model {manifest.adapter.base}", manifest.adapter.base_sha256, now.adapter.base_sha256)
        yield check("adapter that training starts from", manifest.adapter.continues, now.adapter.continues)
    for task in dict.fromkeys([*manifest.tasks, *now.tasks]):
        yield check(f"downstream task {task}", manifest.tasks.get(task), now.tasks.get(task))
    for plugin in dict.fromkeys([*manifest.plugins, *now.plugins]):
        yield check(f"plug-in {plugin}", manifest.plugins.get(plugin), now.plugins.get(plugin))


def _others(manifest: Manifest, now: Manifest) -> Iterator[Check]:
    changed = changes(manifest, now)
    recorded = {"efface": manifest.efface, "commit": manifest.commit, "device": manifest.device, **manifest.versions}
    for name, value in recorded.items():
        found = changed[name][1] if name in changed else value
        yield Check(name=name, recorded=value, now=found, required=False)
    yield Check(name="precision", recorded=manifest.precision, now=now.precision, required=False)
    if manifest.hardware is not None and now.hardware is not None:
        before, after = manifest.hardware.processor, now.hardware.processor
        yield Check(name="processor", recorded=before, now=after, required=False)


def _read_run(folder: RunFolder) -> tuple[RunConfig, Manifest]:
    """The settings and the manifest of a finished run. Raises `EffaceError` for anything else."""
    root = folder.root
    if not root.is_dir():
        raise EffaceError(f"there is no folder {root}; give that of a finished run")
    tune = TunePaths(root)
    if tune.best.is_file() or tune.search_settings.is_file():
        raise EffaceError(
            f"{root} is a search of efface tune, which scores a part of the questions; run {tune.best} with efface "
            "run, and give the folder of that run"
        )
    if (kind := _other_kind(root)) is not None:
        raise EffaceError(
            f"{root} is {kind}; efface reproduce repeats single runs of efface run or efface unlearn: give the folder "
            "of one, or give the command in its manifest.json another --out"
        )
    manifest = folder.read_manifest()
    if manifest is None or not folder.config.is_file():
        raise EffaceError(f"{root} is no run (no manifest.json and config.yaml); give the folder of a finished run")
    if purged := manifest.purged_data:
        raise EffaceError(
            f"{root} was purged, and with it the SHA-256 of {', '.join(purged)}, so nothing shows whether its data are "
            "still the same; make a new run of its config.yaml"
        )
    unfinished = folder.records_root.is_dir() and not folder.results.is_file()
    if unfinished or folder.checkpoints.is_dir():
        raise EffaceError(f"the run in {root} is not finished; continue it with --resume, then repeat it")
    if not folder.results.is_file() and not _compared_files(manifest):
        raise EffaceError(f"{root} has neither results nor sums of its model to compare with; give another run")
    # the optimizer depends on the free memory where it is `auto`
    settings = {} if manifest.optimizer is None else {"train": {"optimizer": manifest.optimizer}}
    return resolve_config(RunConfig, str(folder.config), settings=settings), manifest


def _other_kind(root: Path) -> str | None:
    """What a folder is that cannot be repeated; None for a run, or for nothing that is known."""
    paths = RunPaths(root)
    if SweepPaths(root).holds_sweep():
        return "a sweep"
    if paths.scores.is_file():
        return "an evaluation"
    settings = read_saved_settings(paths.config) if paths.config.is_file() else {"method": None}
    if settings.get("continual") is not None or QueuePaths(root).requests():
        return "a queue of requests"
    return None if "method" in settings else "no run but a fine-tuned model or an evaluation"


def _refuse_another_run(run: Path, checks: tuple[Check, ...]) -> None:
    changed = [check.name for check in checks if check.required and not check.is_same]
    if changed:
        raise EffaceError(
            f"{run} cannot be repeated: {', '.join(changed)} is not what manifest.json says; restore it, or make a new "
            "run of what there is now"
        )


def _compare(
    folder: RunFolder, manifest: Manifest, again: RunFolder, checks: tuple[Check, ...], numbers: Agreement
) -> Reproduction:
    one, other = _compared_files(manifest), _compared_files(again.read_manifest() or manifest)
    common = sorted(one.keys() & other.keys())
    different = tuple(name for name in common if one[name] != other[name])
    return Reproduction(
        run=str(folder.root),
        out=str(again.root),
        is_same=not numbers.different and not different,
        checks=checks,
        numbers=numbers,
        same_files=tuple(name for name in common if one[name] == other[name]),
        different_files=different,
    )


def _numbers(folder: RunFolder) -> dict[str, Value]:
    """Of results.json, without an audit, which a run does not repeat, and of every step."""
    results = folder.read_results()
    if results is not None:
        results = results.model_copy(update={"audit": None})
    scores = {} if results is None else dict(leaves(results.to_json(), "results"))
    return {**scores, **read_steps(folder.metrics)}


def _compared_files(manifest: Manifest) -> dict[str, str]:
    """Path -> sum of the weights and the records; other files name versions and folders."""
    files = (manifest.files or {}).items()
    return {name: digest for name, digest in files if name.startswith("records/") or name.endswith(_WEIGHTS)}
