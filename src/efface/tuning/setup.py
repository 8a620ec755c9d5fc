"""What all trials share: settings, data, the model before unlearning and its records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from efface.config.commands import RunConfig
from efface.config.plugins import custom_objectives
from efface.data.config import MODEL_ANSWERS
from efface.errors import EffaceError
from efface.evaluation.judging.judges import open_judges
from efface.files.atomic import to_json, write_json
from efface.files.folder_lock import is_lock, lock_folder
from efface.files.folders import TunePaths
from efface.files.safe_read import read_json
from efface.models.auto_optimizer import resolve_optimizer
from efface.models.dtypes import evaluation_dtype
from efface.models.folder import load_model_config, model_folder
from efface.objectives.method import objective
from efface.progress.reporter import Reporter
from efface.records import RecordSets
from efface.run.evaluation_stages import EvaluationStages, free_models
from efface.run.folder import RunFolder
from efface.run.metadata.metadata import RunMetadata
from efface.run.preparation.plan import training_steps
from efface.run.preparation.prepare import PreparedRun, prepare
from efface.run.preparation.size_settings import tell_defaults, with_size_settings
from efface.run.selection.held_out import HeldOut, hold_out
from efface.run.selection.quick_scores import QuickScores
from efface.run.unlearning_plan import UnlearningPlan
from efface.schema import Task
from efface.scores import definition
from efface.scores.kept import Kept, kept, said
from efface.scores.sets import FORGET
from efface.train.batches.examples import check_task
from efface.train.batches.sampler import anchor_items
from efface.train.batches.schedule import last_step, make_schedule
from efface.tuning.request import Tuning, check_tuning
from efface.tuning.space import SearchSpace, default_space, describe

_UNDERSTOOD = 0.5
"""Share of its ROUGE on the forget set that a model must have on the paraphrased questions for these to be reported."""


@dataclass(frozen=True)
class Setup:
    """What was read and made for a search."""

    tuning: Tuning
    paths: TunePaths
    prepared: PreparedRun
    held_out: HeldOut
    space: SearchSpace
    defaults: Mapping[str, Mapping[str, str]]
    """Method -> dotted key of a setting that is neither given nor searched -> where its value comes from."""
    stages: EvaluationStages
    """Evaluates all questions of the search."""
    before: RecordSets
    """Records of the model before unlearning, of the questions of the search."""
    reported_before: RecordSets
    """The same of the questions that are reported."""
    quick: QuickScores
    forget_note: str
    """Which questions of the forget set are reported, and why: a sentence."""

    def defaults_of(self, method: str) -> Mapping[str, str]:
        """The defaults of a trial's method; as in `apply`, those of the first one where only the space names it."""
        return self.defaults.get(method, next(iter(self.defaults.values())))

    def compare(self, before: RecordSets, after: RecordSets) -> Kept:
        """How much of its utility a model kept.

        Args:
            before: Records of the model before unlearning: `before` or `reported_before`.
            after: The same questions, answered by the other model.
        """
        base = self.tuning.base
        return kept(
            before,
            after,
            definition(base.definition),
            unseen=self.held_out.unseen,
            own_answers=base.data.retain == MODEL_ANSWERS,
        )

    def plan(self, config: RunConfig) -> UnlearningPlan:
        """What a run of these settings trains, on the same data and from the same model.

        Args:
            config: Settings that differ from the first method's in what is searched.

        Raises:
            EffaceError: The data does not fit the method.
        """
        plan, task = self.prepared.plan, self.prepared.task
        bound = objective(config.method, config, custom_objectives(config.plugins))
        return replace(
            plan,
            objective=bound,
            steps=training_steps(task, bound, config, self.prepared.formatter),
            schedule=make_schedule(len(anchor_items(task, config.train)), config.train),
            last_step=last_step(len(anchor_items(task, config.train)), config.train),
            watch=None,
            config=resolve_optimizer(
                config.train, load_model_config(plan.source), self.prepared.device, earlier=self.prepared.manifest
            ),
        )


def set_up(tuning: Tuning, out: Path, *, data_dir: Path | None, resume: bool, reporter: Reporter) -> Setup:
    """Read data and model, and evaluate the model before unlearning; what was done already is read.

    Args:
        tuning: The request.
        out: The folder.
        data_dir: Where benchmarks are stored; None for the default.
        resume: Whether `out` may contain a search of the same settings, data and model.
        reporter: Gets stages, progress and warnings.

    Raises:
        EffaceError: Something cannot be used, or `out` contains something else.
    """
    check_tuning(tuning)
    paths = TunePaths(out)
    _check_out(paths, resume=resume)
    with lock_folder(paths.search, wait=True):
        folder = RunFolder(paths.search)
        tuning, defaults = _with_size_settings(tuning)
        prepared, opened = prepare(_with_lr(tuning.base), folder, data_dir=data_dir, reporter=reporter, resume=True)
        tuning = _with_fitting_methods(tuning, prepared.task, reporter)
        held_out = hold_out(prepared.task.evaluation, tuning.base.evaluate.limit)
        space = _space(tuning, prepared)
        defaults = _not_searched(defaults, space)
        for method, base in tuning.bases.items():
            tell_defaults(base, defaults[method], reporter)
        _check_same(paths, tuning, space)
        search = _stages(tuning, folder, prepared, held_out, reporter)
        reported = replace(search, folder=RunFolder(paths.reported), sets=held_out.reported)
        search.check(opened.model)
        before = search.before(opened.parallel_model, None)
        quick = _quick_scores(tuning, prepared, held_out, before)
        write_json(paths.search_settings, _settings(tuning, space))
        reported_before = reported.before(opened.parallel_model, None)
        held_out, reported_before, forget_note = _reported_forget(held_out, before, reported_before)
    del opened
    free_models()
    return Setup(
        tuning=tuning,
        paths=paths,
        prepared=prepared,
        held_out=held_out,
        space=space,
        defaults=defaults,
        stages=search,
        before=before,
        reported_before=reported_before,
        quick=quick,
        forget_note=forget_note,
    )


def _with_size_settings(tuning: Tuning) -> tuple[Tuning, dict[str, dict[str, str]]]:
    """What a run would take from the size of the model, where the settings of a method leave it open."""

    def read(model: str) -> Any:
        return load_model_config(model_folder(model))

    found = {method: with_size_settings(base, read) for method, base in tuning.bases.items()}
    bases = {method: base for method, (base, _) in found.items()}
    return replace(tuning, bases=bases), {method: defaults for method, (_, defaults) in found.items()}


def _with_fitting_methods(tuning: Tuning, task: Task, reporter: Reporter) -> Tuning:
    """The methods that the data fits: others are left out if they are defaults, and refused if the user named them."""
    bases = {}
    for method, base in tuning.bases.items():
        try:
            check_task(task, objective(method, base, custom_objectives(base.plugins)))
        except EffaceError as error:
            if tuning.methods_given:
                raise
            reporter.on_stage(f"{method} is not tried: {error}")
        else:
            bases[method] = base
    return replace(tuning, bases=bases)


def _not_searched(defaults: Mapping[str, Mapping[str, str]], space: SearchSpace) -> dict[str, dict[str, str]]:
    """Those of each method that no trial changes."""
    return {method: {key: each[key] for key in each if key not in space} for method, each in defaults.items()}


def _with_lr(base: RunConfig) -> RunConfig:
    """The settings with their rate as a given one: what a search takes from the size of the model, it says itself."""
    return base.model_copy(update={"train": base.train.model_copy(update={"lr": base.train.lr})})


def _quick_scores(tuning: Tuning, prepared: PreparedRun, held_out: HeldOut, before: RecordSets) -> QuickScores:
    base = tuning.base
    scores = QuickScores(
        held_out,
        before,
        formatter=prepared.formatter,
        config=base.evaluate,
        definition_name=base.definition,
        own_answers=base.data.retain == MODEL_ANSWERS,
    )
    scores.check(tuning.keep)
    return scores


def _stages(
    tuning: Tuning, folder: RunFolder, prepared: PreparedRun, held_out: HeldOut, reporter: Reporter
) -> EvaluationStages:
    """What evaluates the questions of the search."""
    config, source, device = tuning.base.evaluate, prepared.plan.source, prepared.device
    judges = open_judges(config, device, prepared.task.evaluation)
    for warning in judges.warnings:
        reporter.on_warning(warning)
    return EvaluationStages(
        folder=folder,
        sets=held_out.searched,
        config=config.model_copy(update={"limit": None}),  # the questions were chosen within it
        judges=judges,
        formatter=prepared.formatter,
        device=device,
        dtype=evaluation_dtype(source, device, config.precision),
        metadata=RunMetadata(folder, tuning.base, prepared.manifest, model_answers=prepared.model_answers),
        reporter=reporter,
    )


def _check_out(paths: TunePaths, *, resume: bool) -> None:
    root = paths.root
    if paths.search_settings.is_file():
        if not resume:
            raise EffaceError(
                f"--out {root} already contains a search; continue it with --resume or choose another folder"
            )
        return
    allowed = {
        paths.search.name,
        paths.target.name,
        paths.base.name,
    }  # a search that did not begin, or inputs of the library
    if root.is_dir() and any(not is_lock(path) and path.name not in allowed for path in root.iterdir()):
        raise EffaceError(f"--out {root} is not empty and contains no search; choose another folder")


def _reported_forget(held_out: HeldOut, before: RecordSets, reported: RecordSets) -> tuple[HeldOut, RecordSets, str]:
    """Report the forget set with paraphrased questions only if the model before unlearning understands them."""
    if not held_out.paraphrased:
        return held_out, reported, "The forget set has no paraphrased questions, so it is reported as it was searched."
    known, asked = said(reported[FORGET]), said(before[FORGET])
    if known >= asked * _UNDERSTOOD:
        return held_out, reported, "The forget set is reported with paraphrased questions, which the search never saw."
    note = (
        "The forget set is reported as it was searched: of the answers' words, the model before unlearning says "
        f"{known:.3f} when asked with paraphrased questions and {asked:.3f} with the original ones, so paraphrased "
        "questions cannot show what was forgotten."
    )
    return held_out.as_asked(), {**reported, FORGET: before[FORGET]}, note


def _space(tuning: Tuning, prepared: PreparedRun) -> SearchSpace:
    if tuning.space is not None:
        return tuning.space
    parameters = prepared.manifest.parameters or 0
    return default_space(tuning.bases, items=len(prepared.task.forget), parameters=parameters)


def _settings(tuning: Tuning, space: SearchSpace) -> dict[str, object]:
    bases = {method: base.model_dump(mode="json", exclude={"device"}) for method, base in tuning.bases.items()}
    return {"schema": 1, "keep": tuning.keep, "space": describe(space), "bases": bases}


def _check_same(paths: TunePaths, tuning: Tuning, space: SearchSpace) -> None:
    """Refuse to continue a search of something else."""
    path = paths.search_settings
    if not path.is_file():
        return
    try:
        saved = read_json(path)
    except ValueError as error:
        raise EffaceError(f"{path} is damaged; start over in another --out") from error
    now = json.loads(to_json(_settings(tuning, space)))
    different = [key for key in now if not isinstance(saved, dict) or saved.get(key) != now[key]]
    if different:
        names = {"keep": "--keep", "space": "the searched settings", "bases": "the methods or their settings"}
        listed = ", ".join(names.get(key, key) for key in different)
        raise EffaceError(f"--resume: {path} has other values of {listed}; give the same ones or another --out")
