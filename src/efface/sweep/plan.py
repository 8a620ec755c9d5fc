"""A sweep before it starts: settings are resolved, data is read and everything is checked; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.open_settings import is_set
from efface.config.parse import to_yaml
from efface.config.plugins import custom_objectives
from efface.config.size_defaults import KEYS
from efface.data import load_training_set
from efface.data.config import MODEL_ANSWERS
from efface.downstream.tasks import check_tasks
from efface.errors import EffaceError
from efface.evaluation.judging.judges import open_judges
from efface.files.folder_lock import check_writable, is_lock
from efface.files.folders import SweepPart, SweepPaths
from efface.hardware.device import device_for
from efface.models.folder import load_model_config, model_folder
from efface.objectives.method import objective
from efface.run.folder import RunFolder
from efface.run.preparation.size_settings import with_size_settings
from efface.run.selection.epoch_scores import check_epoch_selection
from efface.run.selection.keep_bound import check_keep
from efface.run.training import check_can_train
from efface.sweep.content_reader import ContentReader
from efface.sweep.index import IndexedRun, SweepIndex
from efface.sweep.run_key import Contents, before_key, downstream_key, run_key, short_key
from efface.sweep.spec import Baseline, Combination, SweepSpec, baseline_config, combinations, target_config
from efface.sweep.table import combination_name
from efface.train.batches.examples import check_task

State = Literal["done", "started", "to do"]
Config = TypeVar("Config", RunConfig, FinetuneConfig, EvaluationConfig)


@dataclass(frozen=True)
class Job(Generic[Config]):
    """A run, fine-tuning or evaluation that the sweep needs."""

    config: Config
    contents: Contents
    key: str
    name: str
    """Name of its folder, unless the user renamed that."""
    folder: Path
    """Where it is, or will be."""
    existing: IndexedRun | None
    """What the sweep's folder has of it."""

    @property
    def state(self) -> State:
        """Whether it is done, was started but not completed, or is to do."""
        if self.existing is None:
            return "to do"
        return "done" if self.existing.done else "started"

    @property
    def model(self) -> Path:
        """The folder of the model that it saves; an evaluation saves none."""
        return RunFolder(self.folder).model


@dataclass(frozen=True)
class PlannedRun:
    """A run of the grid."""

    combination: Combination
    job: Job[RunConfig]

    @property
    def before_key(self) -> str:
        """The key of its records before unlearning, which runs may share."""
        return before_key(self.job.config, self.job.contents)

    @property
    def downstream_key(self) -> str:
        """The key of its scores on downstream tasks before unlearning, which runs may share."""
        return downstream_key(self.job.config, self.job.contents)

    @property
    def group(self) -> tuple[str, str]:
        """Equal for runs that can be compared: same records before unlearning, same definition of scores."""
        return self.before_key, self.job.config.definition

    @property
    def requests(self) -> int | None:
        """How many requests a queue has; None for a single request."""
        queue = self.job.config.continual
        return None if queue is None else len(queue.requests)


@dataclass(frozen=True)
class PlannedBaseline:
    """A model to compare the runs of a group with."""

    name: Baseline
    where: Mapping[str, Any]
    """The settings of the grid that all runs of the group have in common."""
    run: PlannedRun
    """A run of the group."""
    job: Job[EvaluationConfig]
    source: Job[FinetuneConfig] | None
    """The fine-tuning of its model; None for random weights."""

    def __str__(self) -> str:
        return f"{self.name} ({combination_name(self.where)})" if self.where else self.name


class SweepPlan:
    """Every job of a sweep, and what its folder has of each.

    As long as the target's model does not exist, the keys of the jobs that start from it are preliminary: list the jobs
    again once it exists.
    """

    def __init__(self, spec: SweepSpec, out: Path, data_dir: Path | None) -> None:
        """Resolve and check everything.

        Args:
            spec: The sweep.
            out: Its folder; need not exist.
            data_dir: Folder with benchmark data, or None for the default.

        Raises:
            EffaceError: The folder, the target or a combination cannot be used.
        """
        _check_out(out)
        self.spec, self.out, self.reader, self.index = spec, out, ContentReader(data_dir), SweepIndex(out)
        self._planned_models: set[str] = set()
        self._filled_settings: dict[tuple[object, ...], RunConfig] = {}
        """Settings with open ones -> with those of the model's size."""
        config = target_config(spec)
        self._target = None if config is None else self._plan_finetuning(config, "target")
        model = None if self._target is None else str(self._target.model)
        self._combinations = combinations(spec, target=model)
        needed = any(combination.config.model == model for combination in self._combinations)
        if self._target is not None and not needed and "retrained" not in spec.baselines:
            raise EffaceError("target: no run starts from it, because the settings have a model; remove one of them")
        self.target = self._target if needed else None
        """The model that runs start from; None where the settings have a model."""
        for combination in self._combinations:
            self._check(combination)
        self.private = any(combination.config.private for combination in self._combinations)
        """Whether the files of the sweep are for their owner alone: unless all runs have `private=false`."""
        runs = self.runs()
        _refuse_duplicates(runs)
        self.baselines(runs)
        _check_scorers([run.job.config for run in runs if run.job.state != "done"])

    def runs(self) -> list[PlannedRun]:
        """List the runs of all combinations, in the order of the grid."""
        return [
            PlannedRun(each, self._plan_job(each.config, "runs", each.config.method)) for each in self._combinations
        ]

    def baselines(self, runs: Sequence[PlannedRun]) -> list[PlannedBaseline]:
        """List the baselines of each group of runs.

        Args:
            runs: All runs.

        Returns:
            The baselines of the spec for each group, in the order of the groups' first runs.

        Raises:
            EffaceError: Runs have no baselines, or the retrained model cannot be made.
        """
        groups: dict[object, list[PlannedRun]] = {}
        for run in runs:
            groups.setdefault(run.group, []).append(run)
        return [self._plan_baseline(name, group) for group in groups.values() for name in self.spec.baselines]

    def _plan_baseline(self, name: Baseline, group: Sequence[PlannedRun]) -> PlannedBaseline:
        run, *others = group
        config, source = baseline_config(run.job.config), None
        if name == "random":
            config = config.model_copy(update={"weights": "random"})
        else:
            source = self._plan_retraining(run.job.config)
            config = config.model_copy(update={"model": str(source.model)})
        values = run.combination.values.items()
        where = {key: value for key, value in values if all(each.combination.values[key] == value for each in others)}
        return PlannedBaseline(name, where, run, self._plan_job(config, "baselines", name), source)

    def _plan_retraining(self, config: RunConfig) -> Job[FinetuneConfig]:
        if self._target is None:
            raise EffaceError(
                "baselines: retrained is the target fine-tuned without the forget set; set target to how it is made"
            )
        load_training_set(config.data, data_dir=self.reader.data_dir, without="forget")
        retrained = self._target.config.model_copy(update={"data": config.data, "without": "forget"})
        return self._plan_finetuning(retrained, "retrained")

    def _plan_finetuning(self, config: FinetuneConfig, name: str) -> Job[FinetuneConfig]:
        check_can_train(config.train, device_for(config.device))
        job = self._plan_job(config, "targets", name)
        self._planned_models.add(str(job.model))
        return job

    def _plan_job(self, config: Config, part: SweepPart, name: str) -> Job[Config]:
        missing = config.model in self._planned_models and not Path(config.model).is_dir()
        contents = self.reader.contents(config, model=f"to be made: {config.model}" if missing else None)
        key = run_key(self._filled(config, missing=missing) if isinstance(config, RunConfig) else config, contents)
        existing, name = self.index.find(key), f"{name}-{short_key(key)}"
        folder = existing.path if existing else SweepPaths(self.out).part(part) / name
        return Job(config, contents, key, name, folder, existing)

    def _filled(self, config: RunConfig, *, missing: bool) -> RunConfig:
        """With the settings that follow from the size of the model, as in the config.yaml of the run's folder."""
        open_settings = to_yaml(config), *(is_set(config, key) for key in KEYS)
        if open_settings not in self._filled_settings:
            source = self._target.config.model if missing and self._target is not None else config.model
            filled, _ = with_size_settings(config, lambda _: load_model_config(model_folder(source)))
            self._filled_settings[open_settings] = filled
        return self._filled_settings[open_settings]

    def _check(self, combination: Combination) -> None:
        """Refuse what `efface run` would refuse before it loads the model."""
        config = combination.config
        try:
            check_can_train(config.train, device_for(config.device))
            bound = objective(config.method, config, custom_objectives(config.plugins))
            for task in self.reader.tasks(config):
                if config.data.retain != MODEL_ANSWERS:  # which do not exist yet
                    check_task(task, bound)
                    check_epoch_selection(config, task)
                    check_keep(config, task)
        except EffaceError as error:
            raise EffaceError(f"{combination}: {error}") from error


def _check_out(out: Path) -> None:
    check_writable(out)
    files = [path for path in out.iterdir() if not is_lock(path)] if out.is_dir() else []
    if files and not SweepPaths(out).holds_sweep():
        raise EffaceError(f"--out {out} is not empty and is not the folder of a sweep; choose another folder")


def _refuse_duplicates(runs: Sequence[PlannedRun]) -> None:
    first: dict[str, PlannedRun] = {}
    for run in runs:
        twin = first.setdefault(run.job.key, run)
        if twin is not run:
            raise EffaceError(f"grid: {twin.combination} and {run.combination} are the same run; remove one of them")


def _check_scorers(configs: Sequence[RunConfig]) -> None:
    """Open each judge and find each downstream task once, so that a wrong name does not fail every run."""
    named = {}
    for config in configs:
        judges = config.evaluate
        named[judges.embedder, judges.judge, judges.gibberish_detector, config.device] = config
    for config in named.values():
        open_judges(config.evaluate, device_for(config.device))
    for tasks in {each.downstream.model_dump_json(): each.downstream for each in configs if each.downstream}.values():
        check_tasks(tasks)
