"""`efface audit`: attack the unlearned model of a run, and a control in the same way; write what came back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from efface.artifacts.audit import AuditResults
from efface.auditing.attack import Attack, Context, ModelName
from efface.auditing.attacks_on_model import AuditPlan, Clock, attack_model
from efface.auditing.audited_run import AuditedRun, read_audited_run
from efface.auditing.config import AuditConfig
from efface.auditing.fact import Fact
from efface.auditing.identity import audit_key
from efface.auditing.known_facts import KnownFacts, known_facts
from efface.auditing.models import AuditModels, ModelSource, find_models
from efface.auditing.registry import not_tried, select_attacks
from efface.auditing.rows import RowsFile
from efface.auditing.rule import FactRule
from efface.auditing.summary import Findings, summarize
from efface.data import load_task
from efface.errors import EffaceError
from efface.evaluation.judging.judges import open_judges
from efface.files.atomic import write_json, write_text
from efface.files.folder_lock import check_writable, lock_folder
from efface.files.folders import RESULTS
from efface.files.permissions import readable
from efface.hardware.device import device_for
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.metadata.metadata import RunMetadata
from efface.schema import EvaluationSet, Task
from efface.scores.sets import FORGET, HOLDOUT

MOST_NEW_TOKENS = 64
"""Of an output under attack: facts stand in the first sentence."""
_REMEDY = "wait until that has ended, then audit again"


@quiet_libraries()
def audit(
    config: AuditConfig,
    path: Path,
    *,
    against: Path | None = None,
    out: Path | None = None,
    data_dir: Path | None = None,
    reporter: Reporter | None = None,
) -> AuditResults:
    """Audit a finished run. What an earlier audit of the same settings has done is not done again.

    Args:
        config: The settings.
        path: The folder of the run.
        against: A run, a fine-tuning or a model that never knew the facts: the control.
        out: Where the rows and results go; None for the folder of the run, whose results.json then has them, too.
        data_dir: Where benchmarks are stored; None for the default.
        reporter: Gets stages, progress and warnings.

    Returns:
        The results.

    Raises:
        EffaceError: The run cannot be audited, or something else cannot be used; nothing is written then.
    """
    reporter, clock = reporter or SilentReporter(), Clock(time.monotonic(), config.audit.minutes)
    attacks, run = select_attacks(config.audit.attacks, config.plugins), read_audited_run(path)
    place = run.folder.audit if out is None else out
    with _locked(run, out):
        made = _prepare(config, run, against=against, data_dir=data_dir, reporter=reporter)
        rows = _rows_file(config, place, made)
        plan = AuditPlan.of(attacks, made.context, made.models, rows)
        for name in made.models.sources:
            attack_model(name, plan, made.context, made.models, rows, clock=clock, reporter=reporter)
        results = _results(config, made, plan, rows, untried=not_tried(attacks), start=clock.start)
        _write(run, place, rows, results, joined=out is None)
    return results


@dataclass(frozen=True)
class _Prepared:
    """What an audit is about."""

    facts: KnownFacts
    models: AuditModels
    rule: FactRule
    context: Context


@contextmanager
def _locked(run: AuditedRun, out: Path | None) -> Iterator[None]:
    """Lock the run, and the folder of the results if that is another one."""
    with ExitStack() as held:
        held.enter_context(lock_folder(run.folder.root, remedy=_REMEDY))
        held.enter_context(readable(run.folder.root, private=run.settings.private))
        if out is not None:
            check_writable(out)
            held.enter_context(lock_folder(out, remedy=_REMEDY))
            held.enter_context(readable(out, private=run.settings.private))
        yield


def _prepare(
    config: AuditConfig, run: AuditedRun, *, against: Path | None, data_dir: Path | None, reporter: Reporter
) -> _Prepared:
    """Find the facts that the model knew before, and the models."""
    device = device_for(config.device)
    task = load_task(run.settings.data, data_dir=data_dir)
    _check_data(run, task)
    forget = _forget_set(task)
    judge = open_judges(
        run.settings.evaluate.model_copy(update={"embedder": "none", "gibberish_detector": "none"}), device, [forget]
    ).judge
    facts = known_facts(run.before, forget, judge, config.audit.level)
    models = find_models(run, against, device, reporter)
    rule = FactRule(judge, facts.audited, forget.entailment_premise)
    return _Prepared(
        facts, models, rule, _context(config, run, task, facts=facts.audited, rule=rule, sources=models.sources)
    )


def _rows_file(config: AuditConfig, place: Path, made: _Prepared) -> RowsFile:
    digests = {cast(Attack, plugin.cls).name: plugin.sha256 or "" for plugin in config.plugins}
    return RowsFile(place, audit_key(made.context, made.models, judge=made.rule.name), digests)


def _context(
    config: AuditConfig,
    run: AuditedRun,
    task: Task,
    *,
    facts: tuple[Fact, ...],
    rule: FactRule,
    sources: Mapping[ModelName, ModelSource],
) -> Context:
    return Context(
        level=config.audit.level,
        seed=config.audit.seed,
        max_new_tokens=min(run.settings.evaluate.max_new_tokens, MOST_NEW_TOKENS),
        facts=facts,
        retain=task.retain,
        forget=_forget_set(task).items,
        holdout=next((each.items for each in task.evaluation if each.name == HOLDOUT), ()),
        config=run.settings,
        rule=rule,
        models=sources,
    )


def _results(
    config: AuditConfig, made: _Prepared, plan: AuditPlan, rows: RowsFile, *, untried: Sequence[str], start: float
) -> AuditResults:
    left_out = {**made.facts.left_out, **made.models.left_out, **plan.left_out, **plan.without_rows(rows)}
    findings = Findings(
        facts=made.facts.audited,
        known=len(made.facts.known),
        attacks=plan.completed(rows),
        rows=plan.rows(rows),
        seconds=plan.seconds(rows),
        left_out=left_out | dict.fromkeys(untried, "not among audit.attacks"),
    )
    return summarize(
        findings,
        made.rule,
        control=_control(made.models),
        level=config.audit.level,
        seed=config.audit.seed,
        seconds=time.monotonic() - start,
    )


def _check_data(run: AuditedRun, task: Task) -> None:
    for name, digest in task.sources.items():
        if run.manifest.data.get(name, digest) != digest:
            raise EffaceError(f"{name} has changed since the run; restore it: an audit is about what was forgotten")


def _forget_set(task: Task) -> EvaluationSet:
    found = next((each for each in task.evaluation if each.name == FORGET), None)
    if found is None:
        raise EffaceError("the data of the run has no forget set to audit; give a run that forgot something")
    return found


def _control(models: AuditModels) -> tuple[str, str, str] | None:
    source = models.sources.get("control")
    if source is None or models.control_kind is None or models.control_name is None:
        return None
    return models.control_kind, models.control_name, source.sha256


def _write(run: AuditedRun, place: Path, rows: RowsFile, results: AuditResults, *, joined: bool) -> None:
    """Write rows and results; where they belong to the run, its manifest gets their sums in the same step."""
    if not joined:
        write_text(rows.path, rows.text())
        write_json(place / RESULTS, results.model_dump(mode="json"))
        rows.remove_partial()
        return
    before = run.folder.read_results()
    manifest = run.folder.read_manifest()
    assert before is not None, "read_audited_run refuses a run without results"
    assert manifest is not None
    with RunMetadata(run.folder, None, manifest).recording():
        write_text(run.folder.audit_rows, rows.text())
        write_json(run.folder.audit_results, results.model_dump(mode="json"))
        run.folder.write_results(before.model_copy(update={"audit": results}))
    rows.remove_partial()
