"""`efface run`: evaluate, unlearn, evaluate again, score. Each stage leaves files, so that a killed run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efface.artifacts import Downstream, Record, Results
from efface.config.commands import RunConfig
from efface.config.plugins import custom_metrics
from efface.evaluation.judges import open_judges
from efface.hardware.device import peak_memory
from efface.models.load import load_model
from efface.models.quantization import quantization_config
from efface.models.save import save_model
from efface.objectives.terms import Reference
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.downstream_stages import downstream_before, downstream_results
from efface.run.epoch_scores import check_best, score_epochs
from efface.run.epoch_snapshots import EpochSnapshots
from efface.run.evaluation_stages import free_models, records_after, records_before
from efface.run.folder import RunFolder
from efface.run.model_card import write_card
from efface.run.prepare import Prepared, prepare
from efface.run.reference_model import make_reference
from efface.run.training import loading_device, train
from efface.scores import score_records
from efface.train.loop import Trainer
from efface.train.optimizer import weights_dtype
from efface.train.sampler import make_schedule


@quiet_libraries()
def run(
    config: RunConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    before: Mapping[str, Sequence[Record]] | None = None,
    downstream: Downstream | None = None,
) -> Results:
    """Unlearn and evaluate before and after, in the folder `out`.

    `before`: records of the same model under the same settings, where they were already made; `downstream`: its
    scores on downstream tasks, likewise. Everything that can be refused is refused before anything is written. Raises
    `EffaceError` for settings, data or a model that cannot be used, and for training that diverges.
    """
    this = prepare(config, RunFolder(out), data_dir=data_dir, reporter=reporter or SilentReporter(), resume=resume)
    check_best(config, this.task)
    judges = open_judges(config.evaluate, this.device)
    for metric, why in judges.missing.items():
        this.reporter.on_warning(f"{metric} will be missing: {why}")
    metrics = custom_metrics(config.plugins)
    tasks_before = downstream_before(this, downstream)
    asked_before = records_before(this, judges, before)
    scores_before = score_records(asked_before, config.definition, metrics)  # now: an own metric may fail
    snapshots = this.snapshots
    _unlearn(this, resume=resume, snapshots=snapshots)
    if snapshots is None:
        trajectory, asked_after = None, records_after(this, judges, asked_before)
    else:
        trajectory, asked_after = score_epochs(this, snapshots, judges, asked_before)
    results = Results(
        definition=config.definition,
        method=config.method,
        before=scores_before,
        after=score_records(asked_after, config.definition, metrics),
        trajectory=trajectory,
        downstream=downstream_results(this, tasks_before),
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
    check_best(config, None)
    this = prepare(config, RunFolder(out), data_dir=data_dir, reporter=reporter or SilentReporter(), resume=resume)
    this.original = None
    this.start()
    _unlearn(this, resume=resume, snapshots=None)
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


def _unlearn(this: Prepared, *, resume: bool, snapshots: EpochSnapshots | None) -> None:
    """Leave the unlearned model in the run's folder, unless it is there already."""
    if this.out.model.is_dir():
        this.reporter.on_stage(f"unlearned already: {this.out.model}")
        return
    with this.stage("unlearn", f"unlearning with {this.config.method}"):
        _train(this, resume=resume, snapshots=snapshots)
    this.out.write_manifest(this.manifest)


def _train(this: Prepared, *, resume: bool, snapshots: EpochSnapshots | None) -> None:
    """Train from the source's weights and save the result in the source's own dtype."""
    free_models()
    rounding = quantization_config(this.train, this.device)
    dtype = weights_dtype(this.train, this.device.type)

    def load(folder: Path) -> Any:
        place = loading_device(this.train, this.device)
        return load_model(folder, dtype=dtype, device=place, quantization=rounding)

    def reference(trainer: Trainer) -> Reference:
        folder, sha256 = this.reference
        another = this.config.reference is not None
        found = make_reference(
            trainer,
            this.steps,
            this.out,
            model_sha256=sha256,
            load=lambda: load(folder),
            another=another,
            reporter=this.reporter,
        )
        if another:
            free_models()  # one that only gave log-probabilities
        return found

    model = train(
        load(this.source),
        this.objective,
        this.steps,
        this.train,
        make_schedule(len(this.task.forget), this.config.train),
        seed=this.config.seed,
        folder=this.out,
        device=this.device,
        reference=reference,
        resume=resume,
        reporter=this.reporter,
        snapshots=snapshots,
    )
    save_model(model, this.tokenizer, this.out.model, source=this.source, name=this.config.model)
    del model
    free_models()
