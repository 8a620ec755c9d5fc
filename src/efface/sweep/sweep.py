"""Do the jobs of a sweep that are not done, one after another or several at once, and make one table of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efface.artifacts import Manifest
from efface.commands.evaluate import evaluate_model
from efface.commands.finetune import finetune
from efface.config.commands import FinetuneConfig
from efface.continual.queue import run_queue
from efface.data.config import MODEL_ANSWERS
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.files.atomic import write_json, write_text
from efface.files.folder_lock import lock_folder
from efface.files.folders import SweepPaths
from efface.files.permissions import readable
from efface.hardware.device import device_for
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import OnceReporter, Reporter, SilentReporter
from efface.records import Record
from efface.run.at_once import ConcurrentJob, at_once, can_run_at_once
from efface.run.folder import RunFolder
from efface.run.pipeline import run as run_pipeline
from efface.sweep.index import IndexedRun
from efface.sweep.plan import Job, PlannedBaseline, PlannedRun, SweepPlan
from efface.sweep.resume import prepare_resume, remove_models
from efface.sweep.run_log import RunLog, failed_line, finished_line, run_facts
from efface.sweep.spec import SweepSpec
from efface.sweep.table import SweepModel, SweepTable, sweep_table

_RELEVANT_PACKAGES = ("torch", "transformers", "lm-eval")
"""Packages whose versions may change scores."""


@dataclass(frozen=True)
class SweepResult:
    """The results of a sweep."""

    table: SweepTable
    runs: list[dict[str, Any]]
    """The latest line of each run in runs.jsonl."""

    def to_json(self) -> dict[str, Any]:
        """Return what is written to table.json."""
        return {"schema": 1, **self.table.model_dump(), "runs": self.runs}


@quiet_libraries()
def sweep(
    spec: SweepSpec, out: Path, *, data_dir: Path | None = None, processes: int = 1, reporter: Reporter | None = None
) -> SweepResult:
    """Do every job of a sweep that its folder does not contain yet, and write runs.jsonl and table.json.

    Everything is resolved and checked before anything is written. A run that fails is logged and the sweep continues;
    the next call tries it again.

    Args:
        spec: The sweep.
        out: Its folder, new or that of an earlier sweep.
        data_dir: Folder with benchmark data, or None for the default.
        processes: How many runs at once, on a CPU; with more than one, each has a process with one thread.
        reporter: Is notified of progress and warnings.

    Returns:
        The table, and the lines of all runs.

    Raises:
        EffaceError: The spec, data or a model cannot be used, the target cannot be made, runs cannot be at once, or
            another process has the folder.
    """
    with lock_folder(out):
        plan = SweepPlan(spec, out, data_dir)
        if processes > 1:
            _check_at_once(plan)
        with readable(out, private=plan.private):
            return _Sweep(plan, processes, OnceReporter(reporter or SilentReporter())).run()


def _check_at_once(plan: SweepPlan) -> None:
    devices = {run.job.config.device for run in plan.runs()} | ({plan.target.config.device} if plan.target else set())
    if not all(can_run_at_once(device_for(device)) for device in devices):
        raise EffaceError(
            "--processes: only runs on a CPU, under Linux, can be at once; set device=cpu and target.device=cpu, or "
            "leave --processes out"
        )


class _Sweep:
    """One call of `sweep`."""

    def __init__(self, plan: SweepPlan, processes: int, reporter: OnceReporter) -> None:
        self._plan, self._processes, self._reporter = plan, processes, reporter
        self._data_dir = plan.reader.data_dir
        self._log = RunLog(SweepPaths(plan.out).log)
        self._done: dict[str, IndexedRun] = {}
        """Key -> complete run."""

    def run(self) -> SweepResult:
        """Do all jobs."""
        if self._plan.target is not None and self._plan.target.state != "done":
            self._finetune(self._plan.target)
        runs = self._plan.runs()
        done = sum(run.job.state == "done" for run in runs)
        self._reporter.on_stage(f"{len(runs)} runs, {done} of them done already")
        models = self._do_runs(runs)
        baselines = [*self._score_before(runs), *self._score_baselines(runs)]
        notes = _comparability_notes([run.manifest for run in self._done.values()])
        result = SweepResult(sweep_table([*baselines, *models], notes), [self._log.latest(run.job.key) for run in runs])
        write_json(SweepPaths(self._plan.out).table, result.to_json())
        return result

    def _do_runs(self, runs: Sequence[PlannedRun]) -> list[SweepModel]:
        """Do the runs that are not done; returns all, in order."""
        models = {run.job.key: self._log_finished(run) for run in runs if run.job.state == "done"}
        numbered = {str(number): run for number, run in enumerate(runs, 1)}
        for part in self._parts({number: run for number, run in numbered.items() if run.job.key not in models}):
            jobs = [self._job(number, run, f"run {number} of {len(runs)}") for number, run in part.items()]
            for job, failure in at_once(jobs, processes=self._processes):
                run = part[job.name]
                models[run.job.key] = self._log_finished(run) if failure is None else self._log_failed(run, failure)
        return [models[run.job.key] for run in runs]

    def _parts(self, runs: Mapping[str, PlannedRun]) -> Iterator[Mapping[str, PlannedRun]]:
        """Runs that may be at once. Records before unlearning that several runs need are made by one of them first."""
        if self._processes == 1:
            yield runs
            return
        single = {number: run for number, run in reversed(list(runs.items())) if run.requests is None}
        makers = {run.before_key: number for number, run in single.items() if self._find_before(run) is None}
        yield {number: run for number, run in runs.items() if number in makers.values()}
        yield {number: run for number, run in runs.items() if number not in makers.values()}

    def _job(self, number: str, run: PlannedRun, position: str) -> ConcurrentJob[str | None]:
        """A run, which returns why it failed."""

        def work(reporter: Reporter) -> str | None:
            reporter.on_stage(f"{position}: {run.combination}")
            try:
                self._unlearn(run, reporter)
            except EffaceError as error:
                reporter.on_warning(f"{run.combination} failed: {error}")
                return str(error)
            return None

        own = self._reporter if self._processes == 1 else self._reporter.labeled(f"[{number}]")
        return ConcurrentJob(number, work, own)

    def _log_finished(self, run: PlannedRun) -> SweepModel:
        job = run.job
        done = self._plan.index.add_complete(job.folder)
        self._done[job.key] = done
        if not self._log.finished(job.key):
            if not self._plan.spec.keep_models and job.folder.name == job.name:
                remove_models(job.folder)
            self._log.add(finished_line(self._facts(run), done.results, done.manifest, done.continual_results))
        return _sweep_model(run, done)

    def _log_failed(self, run: PlannedRun, error: str) -> SweepModel:
        self._plan.index.add(run.job.folder)  # its records before unlearning may be complete
        self._log.add(failed_line(self._facts(run), error))
        return _sweep_model(run, error=error)

    def _facts(self, run: PlannedRun) -> dict[str, Any]:
        folder = run.job.folder.relative_to(self._plan.out).as_posix()
        return run_facts(run.job.key, run.combination.values, run.job.config, folder)

    def _unlearn(self, run: PlannedRun, reporter: Reporter) -> None:
        config, folder = run.job.config, run.job.folder
        with lock_folder(folder):
            resume = prepare_resume(run.job)
            if config.continual is not None:
                run_queue(config, folder, data_dir=self._data_dir, resume=resume, reporter=reporter)
                return
            run_pipeline(
                config,
                folder,
                data_dir=self._data_dir,
                resume=resume,
                reporter=reporter,
                before=self._shared_before(run),
                downstream=self._plan.index.find_downstream(run.downstream_key),
            )

    def _score_before(self, runs: Sequence[PlannedRun]) -> Iterator[SweepModel]:
        """The model before unlearning, once per group that has a complete run."""
        for run in {run.group: run for run in reversed(runs) if run.job.key in self._done}.values():
            results = self._done[run.job.key].results
            yield SweepModel(
                run.group,
                run.job.config.definition,
                {},
                results.before,
                baseline="before",
                downstream=results.downstream.before.average if results.downstream else None,
            )

    def _score_baselines(self, runs: Sequence[PlannedRun]) -> list[SweepModel]:
        """Fine-tune the models of baselines first: once they exist, the keys of the evaluations are final."""
        failures: dict[str, str] = {}
        planned = self._plan.baselines(runs)
        for source in {each.source.key: each.source for each in planned if each.source}.values():
            if source.state != "done":
                try:
                    self._finetune(source)
                except EffaceError as error:
                    failures[source.key] = str(error)
        final = self._plan.baselines(runs)
        return [self._score_baseline(each, failures.get(each.source.key) if each.source else None) for each in final]

    def _score_baseline(self, baseline: PlannedBaseline, failure: str | None) -> SweepModel:
        scores = None
        if failure is None:
            try:
                scores = self._evaluate(baseline).scores
            except EffaceError as error:
                failure = str(error)
        if failure is not None:
            self._reporter.on_warning(f"{baseline} failed: {failure}")
        definition = baseline.job.config.definition
        return SweepModel(baseline.run.group, definition, {}, scores, error=failure, baseline=baseline.name)

    def _evaluate(self, baseline: PlannedBaseline) -> IndexedRun:
        job = baseline.job
        if job.state != "done":
            before = self._shared_before(baseline.run)
            if before is None:
                raise EffaceError("no run of its group has records before unlearning; see why the runs failed")
            self._reporter.on_stage(f"baseline {baseline}")
            with lock_folder(job.folder):
                evaluate_model(
                    job.config,
                    job.folder,
                    data_dir=self._data_dir,
                    before=before,
                    resume=prepare_resume(job),
                    reporter=self._reporter,
                )
        return self._plan.index.add_complete(job.folder)

    def _finetune(self, job: Job[FinetuneConfig]) -> None:
        self._reporter.on_stage(f"making the model {job.folder}")
        with lock_folder(job.folder):
            resume = prepare_resume(job)
            finetune(job.config, job.folder, data_dir=self._data_dir, resume=resume, reporter=self._reporter)
        self._plan.index.add(job.folder)

    def _shared_before(self, run: PlannedRun) -> dict[str, list[Record]] | None:
        """Records before unlearning from another run with the same model and questions; copies its model answers."""
        source = self._find_before(run)
        if source is None:
            return None
        model_answers = RunFolder(run.job.folder).model_answers
        if source.model_answers.is_file() and not model_answers.is_file():
            write_text(model_answers, source.model_answers.read_text(encoding="utf-8"))
        return read_record_sets(source.records("before"))

    def _find_before(self, run: PlannedRun) -> RunFolder | None:
        data = run.job.config.data
        sets = [each.name for each in self._plan.reader.task(data).evaluation]
        if data.retain == MODEL_ANSWERS and data.generic_questions:
            sets.append("retain")
        return self._plan.index.find_before(run.before_key, sets)


def _sweep_model(run: PlannedRun, done: IndexedRun | None = None, error: str | None = None) -> SweepModel:
    config = run.job.config
    results = done.results if done else None
    return SweepModel(
        run.group,
        config.definition,
        {"method": config.method, **run.combination.values},
        results.after if results else None,
        error,
        requests=run.requests,
        downstream=results.downstream.after.average if results and results.downstream else None,
    )


def _comparability_notes(manifests: Sequence[Manifest]) -> list[str]:
    """Notes on what differs between the runs of a table, although they are compared."""
    origins = {
        "commit of efface": [manifest.commit or "none" for manifest in manifests],
        "device": [manifest.device for manifest in manifests],
        "precision": [manifest.precision for manifest in manifests],
        **{name: [manifest.versions.get(name, "none") for manifest in manifests] for name in _RELEVANT_PACKAGES},
    }
    differing = {name: sorted(set(values)) for name, values in origins.items() if len(set(values)) > 1}
    return [f"the runs were made with more than one {name}: {', '.join(values)}" for name, values in differing.items()]
