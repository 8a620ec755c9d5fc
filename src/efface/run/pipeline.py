"""`efface run`: evaluate, unlearn, evaluate again, score. Each stage leaves files, so that a killed run goes on."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface.artifacts import Manifest, Record, Results
from efface.data import load_task
from efface.evaluate.engine import evaluate
from efface.evaluate.judges import Judges, open_judges
from efface.objectives.method import objective
from efface.objectives.terms import Objective, Reference
from efface.run.card import write_card
from efface.run.config import RunConfig
from efface.run.folder import RunFolder
from efface.run.manifest import continued, manifest, training_precision
from efface.run.models import (
    device_for,
    evaluation_dtype,
    load_model,
    load_tokenizer,
    model_folder,
    model_sha256,
    peak_memory,
    reset_peak_memory,
    save_model,
    stored_dtype,
)
from efface.run.quiet import quiet_libraries
from efface.run.reference import reference_for
from efface.run.reporter import Reporter, Silent
from efface.run.training import check_can_train, train, warn_of
from efface.schema import Task
from efface.scores import score_records
from efface.text.forward import check_packing, position_limit
from efface.text.template import Formatter
from efface.train.examples import unlearning_examples
from efface.train.loop import Trainer
from efface.train.plan import draws, schedule
from efface.train.step import Example

Records = dict[str, list[Record]]
"""Set name -> one record a question."""


@dataclass
class _Run:
    """What the stages of one run share."""

    config: RunConfig
    out: RunFolder
    task: Task
    source: Path
    """The folder of the model before unlearning."""
    original: Any
    """That model as it was loaded for the first checks; None once it was evaluated."""
    tokenizer: Any
    formatter: Formatter
    judges: Judges
    device: torch.device
    objective: Objective
    steps: list[list[Example]]
    manifest: Manifest
    reporter: Reporter

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Tell of a stage and add its seconds to the manifest."""
        self.reporter.stage(text)
        start = time.perf_counter()
        yield
        self.manifest.seconds[name] = round(time.perf_counter() - start, 3)


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
    this = _prepare(config, RunFolder(out), data_dir, reporter or Silent(), resume=resume)
    records_before = _records_before(this, before)
    if this.out.model.is_dir():
        this.reporter.stage(f"unlearned already: {this.out.model}")
    else:
        with this.stage("unlearn", f"unlearning with {config.method}"):
            _unlearn(this, resume=resume)
        this.out.write_manifest(this.manifest)
    records_after = _records_after(this, records_before)
    results = Results(
        definition=config.definition,
        method=config.method,
        before=score_records(records_before, config.definition),
        after=score_records(records_after, config.definition),
    )
    this.manifest.peak_memory_bytes = peak_memory(this.device)
    this.out.write_manifest(this.manifest)
    write_card(this.out.model, config, this.manifest, results)
    this.out.write_results(results)
    shutil.rmtree(this.out.checkpoints, ignore_errors=True)
    return results


def _prepare(config: RunConfig, out: RunFolder, data_dir: Path | None, reporter: Reporter, *, resume: bool) -> _Run:
    """Read and check everything the run needs; writes nothing."""
    out.check(config, resume=resume)
    check_can_train(config.train)
    device = device_for(config.device)
    reset_peak_memory(device)
    task = load_task(config.data, data_dir=data_dir)
    source = model_folder(config.model)
    tokenizer = load_tokenizer(source)
    bound = objective(config.method, config)
    model = load_model(source, dtype=evaluation_dtype(source, device), device=device)
    check_packing(model)
    formatter = Formatter(tokenizer, config.text, limit=position_limit(model))
    steps = unlearning_examples(draws(task, config.train, config.seed), bound.views, formatter)
    warn_of(task, formatter, config.train, items=len(task.forget), reporter=reporter)
    judges = open_judges(config.evaluate, device)
    for metric, why in judges.missing.items():
        reporter.warning(f"{metric} will be missing: {why}")
    made = manifest(
        seed=config.seed,
        device=device,
        precision=f"weights and optimizer float32, training {training_precision(config.train, device)}, "
        f"evaluation {str(evaluation_dtype(source, device)).removeprefix('torch.')}",
        data=task.sources,
        model=config.model,
        model_sha256=model_sha256(source),
    )
    if earlier := out.manifest():
        made = continued(earlier, made)
    return _Run(config, out, task, source, model, tokenizer, formatter, judges, device, bound, steps, made, reporter)


def _records_before(this: _Run, given: Mapping[str, Sequence[Record]] | None) -> Records:
    """The records of the model before unlearning: those on disk, those given, or made now."""
    original, this.original = this.original, None
    if known := _known(this, "before"):
        this.out.start(this.config, this.manifest)
        return known
    if given is None:
        with this.stage("evaluate before", "evaluating before unlearning"):
            records = _evaluate(this, original, None)
    else:
        records = {name: list(rows) for name, rows in given.items()}
    this.out.start(this.config, this.manifest)
    this.out.write_records("before", records)
    return records


def _records_after(this: _Run, before: Records) -> Records:
    """The records of the unlearned model as it lies on disk: those on disk, or made now."""
    if known := _known(this, "after"):
        return known
    with this.stage("evaluate after", "evaluating after unlearning"):
        model = load_model(this.out.model, dtype=evaluation_dtype(this.source, this.device), device=this.device)
        records = _evaluate(this, model, before)
    this.out.write_records("after", records)
    return records


def _known(this: _Run, stage: str) -> Records | None:
    known = this.out.records(stage, [each.name for each in this.task.evaluation])
    if known is not None:
        this.reporter.stage(f"evaluated {stage} unlearning already: {this.out.root / 'records' / stage}")
    return known


def _evaluate(this: _Run, model: Any, before: Records | None) -> Records:
    return evaluate(
        model,
        this.formatter,
        this.task.evaluation,
        config=this.config.evaluate,
        judges=this.judges,
        before=before,
        progress=this.reporter.scored,
    )


def _unlearn(this: _Run, *, resume: bool) -> None:
    """Train from the source's weights in float32 and save the result in the source's own dtype."""
    _collect()

    def load() -> Any:
        return load_model(this.source, dtype=torch.float32, device=this.device)

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
    save_model(model, this.tokenizer, this.out.model, dtype=stored_dtype(this.source))
    del model
    _collect()


def _collect() -> None:
    """Free the models that nobody uses: loaders leave reference cycles, which Python takes apart when it likes."""
    gc.collect()
    torch.cuda.empty_cache()
