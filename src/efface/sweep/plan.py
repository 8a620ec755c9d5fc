"""A sweep before it starts: everything resolved, read and checked; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.plugins import custom_objectives
from efface.data import load_training_set
from efface.data.config import MODEL_ANSWERS
from efface.downstream.tasks import check_tasks
from efface.errors import EffaceError
from efface.evaluation.judges import open_judges
from efface.folders import SweepPart, SweepPaths
from efface.hardware.device import device_for
from efface.objectives.method import objective
from efface.run.epoch_scores import check_epoch_selection
from efface.run.folder import RunFolder
from efface.run.training import check_can_train
from efface.sweep.content_hashes import Reader
from efface.sweep.index import IndexedRun, SweepIndex
from efface.sweep.run_key import Contents, before_key, downstream_key, key, short
from efface.sweep.spec import Baseline, Combination, SweepSpec, combinations, evaluation_of, target_config
from efface.sweep.table import combination_name
from efface.train.examples import check_task

State = Literal["done", "begun", "to make"]
Config = TypeVar("Config", RunConfig, FinetuneConfig, EvaluationConfig)


@dataclass(frozen=True)
class Job(Generic[Config]):
    """A run, fine-tuning or evaluation that the sweep needs."""

    config: Config
    contents: Contents
    key: str
    name: str
    """What its folder is called, unless somebody renamed it."""
    folder: Path
    """Where it is, or will be."""
    found: IndexedRun | None
    """What there is of it."""

    @property
    def state(self) -> State:
        """How far it is."""
        if self.found is None:
            return "to make"
        return "done" if self.found.done else "begun"

    @property
    def model(self) -> Path:
        """The model that it leaves, unless it is an evaluation."""
        return RunFolder(self.folder).model


@dataclass(frozen=True)
class Run:
    """A run of the grid."""

    point: Combination
    job: Job[RunConfig]

    @property
    def before(self) -> str:
        """By what the records before unlearning are known, which runs share."""
        return before_key(self.job.config, self.job.contents)

    @property
    def downstream(self) -> str:
        """By what the scores on downstream tasks before unlearning are known."""
        return downstream_key(self.job.config, self.job.contents)

    @property
    def group(self) -> tuple[str, str]:
        """What is the same in runs that can be compared: those records, and how they are scored."""
        return self.before, self.job.config.definition

    @property
    def requests(self) -> int | None:
        """How many requests are unlearned in turn; None for a single one."""
        queue = self.job.config.continual
        return None if queue is None else len(queue.requests)


@dataclass(frozen=True)
class Comparison:
    """A model to compare the runs of a group with."""

    name: Baseline
    where: Mapping[str, Any]
    """What all runs of the group have in common of the grid."""
    run: Run
    """One of the group."""
    job: Job[EvaluationConfig]
    source: Job[FinetuneConfig] | None
    """What makes the model, where it has to be made."""

    def __str__(self) -> str:
        return f"{self.name} ({combination_name(self.where)})" if self.where else self.name


class Plan:
    """Every job of a sweep, in the light of what its folder holds.

    While a target is still to be made, so is everything that starts from it, and the keys of that are not the last
    word. Ask for the jobs again once it is there.
    """

    def __init__(self, spec: SweepSpec, out: Path, data_dir: Path | None) -> None:
        """Raises `EffaceError` for a folder, a target or a combination that cannot be used."""
        _check_out(out)
        self.spec, self.out, self.reader, self.here = spec, out, Reader(data_dir), SweepIndex(out)
        self._made_here: set[str] = set()
        config = target_config(spec)
        self._target = None if config is None else self._fine_tuning(config, "target")
        model = None if self._target is None else str(self._target.model)
        self._points = combinations(spec, target=model)
        needed = any(point.config.model == model for point in self._points)
        if self._target is not None and not needed and "retrained" not in spec.baselines:
            raise EffaceError("target: nothing starts from it, for the settings name a model; leave one of them out")
        self.target = self._target if needed else None
        """What runs start from, where it comes from here."""
        for point in self._points:
            self._check(point)
        runs = self.runs()
        _refuse_same(runs)
        self.comparisons(runs)
        _check_scorers([run.job.config for run in runs if run.job.state != "done"])

    def runs(self) -> list[Run]:
        """One for each combination, in the order of the grid."""
        return [Run(point, self._job(point.config, "runs", point.config.method)) for point in self._points]

    def comparisons(self, runs: Sequence[Run]) -> list[Comparison]:
        """The baselines of each group of runs."""
        groups: dict[object, list[Run]] = {}
        for run in runs:
            groups.setdefault(run.group, []).append(run)
        return [self._comparison(baseline, group) for group in groups.values() for baseline in self.spec.baselines]

    def _comparison(self, baseline: Baseline, group: Sequence[Run]) -> Comparison:
        run, *others = group
        config, source = evaluation_of(run.job.config), None
        if baseline == "random":
            config = config.model_copy(update={"weights": "random"})
        else:
            source = self._retraining(run.job.config)
            config = config.model_copy(update={"model": str(source.model)})
        values = run.point.values.items()
        where = {key: value for key, value in values if all(each.point.values[key] == value for each in others)}
        return Comparison(baseline, where, run, self._job(config, "baselines", baseline), source)

    def _retraining(self, config: RunConfig) -> Job[FinetuneConfig]:
        if self._target is None:
            raise EffaceError(
                "baselines: retrained is a target made without the forget set; say in target how to make it"
            )
        load_training_set(config.data, data_dir=self.reader.data_dir, without="forget")
        retrained = self._target.config.model_copy(update={"data": config.data, "without": "forget"})
        return self._fine_tuning(retrained, "retrained")

    def _fine_tuning(self, config: FinetuneConfig, name: str) -> Job[FinetuneConfig]:
        check_can_train(config.train, device_for(config.device))
        job = self._job(config, "targets", name)
        self._made_here.add(str(job.model))
        return job

    def _job(self, config: Config, part: SweepPart, name: str) -> Job[Config]:
        missing = config.model in self._made_here and not Path(config.model).is_dir()
        contents = self.reader.contents(config, model=f"to be made: {config.model}" if missing else None)
        digest = key(config, contents)
        found, name = self.here.get(digest), f"{name}-{short(digest)}"
        return Job(
            config, contents, digest, name, found.path if found else SweepPaths(self.out).part(part) / name, found
        )

    def _check(self, point: Combination) -> None:
        """Refuse what `efface run` would refuse without looking into the model."""
        config = point.config
        try:
            check_can_train(config.train, device_for(config.device))
            bound = objective(config.method, config, custom_objectives(config.plugins))
            for task in self.reader.tasks(config):
                if config.data.retain != MODEL_ANSWERS:  # which are not there yet
                    check_task(task, bound)
                    check_epoch_selection(config, task)
        except EffaceError as error:
            raise EffaceError(f"{point}: {error}") from error


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise EffaceError(f"--out {out} is a file; give a folder")
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise EffaceError(f"--out {out}: {there} cannot be written; choose another folder")
    if out.is_dir() and any(out.iterdir()) and not SweepPaths(out).holds_sweep():
        raise EffaceError(f"--out {out} is not empty and holds no sweep; choose another folder")


def _refuse_same(runs: Sequence[Run]) -> None:
    seen: dict[str, Run] = {}
    for run in runs:
        twin = seen.setdefault(run.job.key, run)
        if twin is not run:
            raise EffaceError(f"grid: {twin.point} and {run.point} are the same run; leave one of them out")


def _check_scorers(configs: Sequence[RunConfig]) -> None:
    """Open each judge and look for each task once: a wrong name shall not fail one run after another."""
    named = {(config.evaluate.embedder, config.evaluate.judge, config.device): config for config in configs}
    for config in named.values():
        open_judges(config.evaluate, device_for(config.device))
    for tasks in {each.downstream.model_dump_json(): each.downstream for each in configs if each.downstream}.values():
        check_tasks(tasks)
