"""Make what a sweep lacks, one after another, and put all of it into one table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efface.artifacts import Manifest, Record
from efface.atomic import write_json, write_text
from efface.commands.evaluate import evaluate_model
from efface.commands.finetune import finetune
from efface.config.commands import FinetuneConfig
from efface.continual.queue import run_queue
from efface.data.config import MODEL_ANSWERS
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.folders import SweepPaths
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import OnceReporter, Reporter, SilentReporter
from efface.run.folder import RunFolder
from efface.run.pipeline import run as run_pipeline
from efface.sweep.index import IndexedRun
from efface.sweep.plan import Comparison, Job, Plan, Run
from efface.sweep.resume import remove_models, resume_folder
from efface.sweep.run_log import RunLog, failed_line, finished_line, head
from efface.sweep.spec import SweepSpec
from efface.sweep.table import Entry, SweepTable, sweep_table

_DECISIVE = ("torch", "transformers", "lm-eval")
"""Packages whose versions change numbers."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found."""

    table: SweepTable
    runs: list[dict[str, Any]]
    """The line of each run in runs.jsonl."""

    def to_json(self) -> dict[str, Any]:
        """As written to table.json."""
        return {"schema": 1, **self.table.model_dump(), "runs": self.runs}


@quiet_libraries()
def sweep(spec: SweepSpec, out: Path, *, data_dir: Path | None = None, reporter: Reporter | None = None) -> SweepResult:
    """Make every run of the grid that the folder `out` does not hold yet; leaves runs.jsonl and table.json there.

    Everything is resolved and checked before anything is written. A run that fails is recorded and the sweep goes on;
    the next call tries it again. Raises `EffaceError` for a spec, data or a model that cannot be used, and where the
    target cannot be made.
    """
    return _Sweep(Plan(spec, out, data_dir), OnceReporter(reporter or SilentReporter())).make()


class _Sweep:
    """One call."""

    def __init__(self, plan: Plan, reporter: OnceReporter) -> None:
        self._plan, self._reporter = plan, reporter
        self._data_dir = plan.reader.data_dir
        self._ledger = RunLog(SweepPaths(plan.out).log)
        self._done: dict[str, IndexedRun] = {}
        """Key -> finished run."""

    def make(self) -> SweepResult:
        """Make it all."""
        if self._plan.target is not None and self._plan.target.state != "done":
            self._fine_tune(self._plan.target)
        runs = self._plan.runs()
        done = sum(run.job.state == "done" for run in runs)
        self._reporter.on_stage(f"{len(runs)} runs, {done} of them done already")
        entries = [self._run(run, f"run {number} of {len(runs)}") for number, run in enumerate(runs, 1)]
        baselines = [*self._before(runs), *self._comparisons(runs)]
        table = sweep_table([*baselines, *entries], _mixed([found.manifest for found in self._done.values()]))
        swept = SweepResult(table, [self._ledger.line(run.job.key) for run in runs])
        write_json(SweepPaths(self._plan.out).table, swept.to_json())
        return swept

    def _run(self, run: Run, where: str) -> Entry:
        job = run.job
        record = head(job.key, run.point.values, job.config, job.folder.relative_to(self._plan.out).as_posix())
        if job.state != "done":
            self._reporter.on_stage(f"{where}: {run.point}")
            try:
                self._unlearn(run)
            except EffaceError as error:
                self._reporter.on_warning(f"{run.point} failed: {error}")
                self._plan.here.add(job.folder)  # its records before unlearning may be whole
                self._ledger.add(failed_line(record, str(error)))
                return _entry(run, error=str(error))
        found = self._plan.here.finished(job.folder)
        self._done[job.key] = found
        if not self._ledger.finished(job.key):
            if not self._plan.spec.keep_models and job.folder.name == job.name:
                remove_models(job.folder)
            self._ledger.add(finished_line(record, found.results, found.manifest, found.over_time))
        return _entry(run, found)

    def _unlearn(self, run: Run) -> None:
        config, folder = run.job.config, run.job.folder
        if config.continual is not None:
            run_queue(config, folder, data_dir=self._data_dir, resume=resume_folder(run.job), reporter=self._reporter)
            return
        before = self._records_before(run)
        run_pipeline(
            config,
            folder,
            data_dir=self._data_dir,
            resume=resume_folder(run.job),
            reporter=self._reporter,
            before=before,
            downstream=self._plan.here.downstream(run.downstream),
        )

    def _before(self, runs: Sequence[Run]) -> Iterator[Entry]:
        """The model before unlearning, once for each group that has a finished run."""
        for run in {run.group: run for run in reversed(runs) if run.job.key in self._done}.values():
            found = self._done[run.job.key].results
            yield Entry(
                run.group,
                run.job.config.definition,
                {},
                found.before,
                baseline="before",
                downstream=found.downstream.before.average if found.downstream else None,
            )

    def _comparisons(self, runs: Sequence[Run]) -> list[Entry]:
        """Make the models to compare with first: what is known of one that is there is its content."""
        failed: dict[str, str] = {}
        planned = self._plan.comparisons(runs)
        for source in {each.source.key: each.source for each in planned if each.source}.values():
            if source.state != "done":
                try:
                    self._fine_tune(source)
                except EffaceError as error:
                    failed[source.key] = str(error)
        again = self._plan.comparisons(runs)
        return [self._compare(each, failed.get(each.source.key) if each.source else None) for each in again]

    def _compare(self, each: Comparison, failure: str | None) -> Entry:
        job, scores = each.job, None
        if failure is None:
            try:
                scores = self._evaluated(each).scores
            except EffaceError as error:
                failure = str(error)
        if failure is not None:
            self._reporter.on_warning(f"{each} failed: {failure}")
        return Entry(each.run.group, job.config.definition, {}, scores, error=failure, baseline=each.name)

    def _evaluated(self, each: Comparison) -> IndexedRun:
        job = each.job
        if job.state != "done":
            before = self._records_before(each.run)
            if before is None:
                raise EffaceError("no run to compare with got as far as the records before unlearning; see why first")
            self._reporter.on_stage(f"to compare with: {each}")
            shutil.rmtree(job.folder, ignore_errors=True)  # half of an evaluation is none
            evaluate_model(job.config, job.folder, data_dir=self._data_dir, before=before, reporter=self._reporter)
        return self._plan.here.finished(job.folder)

    def _fine_tune(self, job: Job[FinetuneConfig]) -> None:
        self._reporter.on_stage(f"making the model {job.folder}")
        finetune(job.config, job.folder, data_dir=self._data_dir, resume=resume_folder(job), reporter=self._reporter)
        self._plan.here.add(job.folder)

    def _records_before(self, run: Run) -> dict[str, list[Record]] | None:
        """Those that another run made of the same model and questions; its own answers to keep come with them."""
        data = run.job.config.data
        sets = [each.name for each in self._plan.reader.task(data).evaluation]
        source = self._plan.here.before(run.before, [*sets, "retain"] if data.retain == MODEL_ANSWERS else sets)
        if source is None:
            return None
        own = RunFolder(run.job.folder).model_answers
        if source.model_answers.is_file() and not own.is_file():
            write_text(own, source.model_answers.read_text(encoding="utf-8"))
        return read_record_sets(source.records("before"))


def _entry(run: Run, found: IndexedRun | None = None, error: str | None = None) -> Entry:
    config = run.job.config
    values = {"method": config.method, **run.point.values}
    results = found.results if found else None
    return Entry(
        run.group,
        config.definition,
        values,
        results.after if results else None,
        error,
        requests=run.requests,
        downstream=results.downstream.after.average if results and results.downstream else None,
    )


def _mixed(manifests: Sequence[Manifest]) -> list[str]:
    """What the runs of a table do not have in common, though they are compared."""
    made_with = {
        "commit of efface": [made.commit or "none" for made in manifests],
        "device": [made.device for made in manifests],
        "precision": [made.precision for made in manifests],
        **{name: [made.versions.get(name, "none") for made in manifests] for name in _DECISIVE},
    }
    several = {name: sorted(set(values)) for name, values in made_with.items() if len(set(values)) > 1}
    return [f"the runs were made with more than one {name}: {', '.join(values)}" for name, values in several.items()]
