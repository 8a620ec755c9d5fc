"""`efface run`: evaluate, unlearn, evaluate again, score. Each stage leaves files, so that a killed run goes on."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from efface.artifacts import Record, Results
from efface.evaluation.engine import evaluate
from efface.evaluation.judges import Judges, open_judges
from efface.objectives.terms import Reference
from efface.run.adapters import quantization
from efface.run.card import write_card
from efface.run.config import RunConfig
from efface.run.folder import RunFolder
from efface.run.models import evaluation_dtype, load_model, peak_memory, save_model
from efface.run.plugins import own_metrics
from efface.run.prepare import Prepared, prepare
from efface.run.quiet import quiet_libraries
from efface.run.reference import reference_for
from efface.run.reporter import Reporter, Silent
from efface.run.training import train
from efface.scores import score_records
from efface.train.loop import Trainer
from efface.train.plan import schedule

Records = dict[str, list[Record]]
"""Set name -> one record a question."""


@quiet_libraries()
def run(
    config: RunConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    before: Mapping[str, Sequence[Record]] | None = None,
) -> Results:
    """Unlearn and evaluate before and after, in the folder `out`.

    `before`: records of the same model under the same settings, where they were already made. Everything that
    can be refused is refused before anything is written. Raises `EffaceError` for settings, data or a model
    that cannot be used, and for training that diverges.
    """
    this = prepare(config, RunFolder(out), data_dir=data_dir, reporter=reporter or Silent(), resume=resume)
    judges = open_judges(config.evaluate, this.device)
    for metric, why in judges.missing.items():
        this.reporter.warning(f"{metric} will be missing: {why}")
    metrics = own_metrics(config.plugins)
    records_before = _records_before(this, judges, before)
    scores_before = score_records(records_before, config.definition, metrics)  # now: an own metric may fail
    _unlearn(this, resume=resume)
    records_after = _records_after(this, judges, records_before)
    results = Results(
        definition=config.definition,
        method=config.method,
        before=scores_before,
        after=score_records(records_after, config.definition, metrics),
    )
    _finish(this, results)
    return results


@quiet_libraries()
def unlearn(
    config: RunConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Unlearn without evaluating; returns the model's folder, `out`/model. Same errors as `run`."""
    this = prepare(config, RunFolder(out), data_dir=data_dir, reporter=reporter or Silent(), resume=resume)
    this.original = None
    this.start()
    _unlearn(this, resume=resume)
    _finish(this, None)
    return this.out.model


def _finish(this: Prepared, results: Results | None) -> None:
    """Write what tells of the whole run, the results last: they say that it is complete."""
    this.manifest.peak_memory_bytes = peak_memory(this.device)
    this.out.write_manifest(this.manifest)
    write_card(this.out.model, this.config, this.manifest, results)
    if this.out.adapter.is_dir():
        write_card(this.out.adapter, this.config, this.manifest, results, library="peft")
    if results is not None:
        this.out.write_results(results)
    shutil.rmtree(this.out.checkpoints, ignore_errors=True)


def _records_before(this: Prepared, judges: Judges, given: Mapping[str, Sequence[Record]] | None) -> Records:
    """The records of the model before unlearning: those on disk, those given, or made now."""
    original, this.original = this.original, None
    if known := _known(this, "before"):
        this.start()
        return known
    if given is None:
        with this.stage("evaluate before", "evaluating before unlearning"):
            records = _evaluate(this, judges, original, None)
    else:
        records = {name: list(rows) for name, rows in given.items()}
    this.start()
    this.out.write_records("before", records)
    return records


def _records_after(this: Prepared, judges: Judges, before: Records) -> Records:
    """The records of the unlearned model as it lies on disk: those on disk, or made now."""
    if known := _known(this, "after"):
        return known
    with this.stage("evaluate after", "evaluating after unlearning"):
        model = load_model(this.out.model, dtype=evaluation_dtype(this.source, this.device), device=this.device)
        records = _evaluate(this, judges, model, before)
    this.out.write_records("after", records)
    return records


def _known(this: Prepared, stage: str) -> Records | None:
    known = this.out.records(stage, [each.name for each in this.task.evaluation])
    if known is not None:
        this.reporter.stage(f"evaluated {stage} unlearning already: {this.out.root / 'records' / stage}")
    return known


def _evaluate(this: Prepared, judges: Judges, model: Any, before: Records | None) -> Records:
    return evaluate(
        model,
        this.formatter,
        this.task.evaluation,
        config=this.config.evaluate,
        judges=judges,
        before=before,
        progress=this.reporter.scored,
    )


def _unlearn(this: Prepared, *, resume: bool) -> None:
    """Leave the unlearned model in the run's folder, unless it is there already."""
    if this.out.model.is_dir():
        this.reporter.stage(f"unlearned already: {this.out.model}")
        return
    with this.stage("unlearn", f"unlearning with {this.config.method}"):
        _train(this, resume=resume)
    this.out.write_manifest(this.manifest)


def _train(this: Prepared, *, resume: bool) -> None:
    """Train from the source's weights, in float32 or rounded, and save the result in the source's own dtype."""
    _collect()
    rounding = quantization(this.config.train, this.device)

    def load() -> Any:
        return load_model(this.source, dtype=torch.float32, device=this.device, quantization=rounding)

    def reference(trainer: Trainer) -> Reference:
        return reference_for(trainer, this.steps, this.out, model_sha256=this.manifest.model_sha256, load=load)

    model = train(
        load(),
        this.objective,
        this.steps,
        this.config.train,
        schedule(len(this.task.forget), this.config.train),
        seed=this.config.seed,
        folder=this.out,
        reference=reference,
        resume=resume,
        reporter=this.reporter,
    )
    save_model(model, this.tokenizer, this.out.model, source=this.source, name=this.config.model)
    del model
    _collect()


def _collect() -> None:
    """Free the models that nobody uses: loaders leave reference cycles, which Python takes apart when it likes."""
    gc.collect()
    torch.cuda.empty_cache()
