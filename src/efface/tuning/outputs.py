"""What a search leaves: settings, model, table of trials, results and a page."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace

import efface
from efface.artifacts import Manifest, Results
from efface.artifacts.tune import TuneCandidate, TuneSummary, TuneTrial
from efface.config.commands import RunConfig
from efface.config.parse import to_yaml
from efface.config.plugins import custom_metrics
from efface.data.config import MODEL_ANSWERS
from efface.files.atomic import write_text
from efface.hardware.device import peak_memory
from efface.progress.reporter import Reporter
from efface.records import RecordSets
from efface.report.page.html import render_page
from efface.report.page.load_run import load_report_run
from efface.run.folder import RunFolder
from efface.run.metadata.manifest import method_pages
from efface.run.metadata.metadata import RunMetadata
from efface.run.metadata.model_card import write_card
from efface.scores import score_records
from efface.scores.verdict import judge_records, verdict
from efface.tuning.select import save_model
from efface.tuning.setup import Setup
from efface.tuning.space import apply, describe

_SHARES = ("kept", "kept_at_least", "utility", "forget_efficacy")
"""Columns of trials.csv: of a trial's best candidate, and again of its full scores."""


def best_config(setup: Setup, trial: TuneTrial) -> RunConfig:
    """The settings of a run that makes the model of a trial's best candidate again.

    Args:
        setup: Of the search.
        trial: One with a candidate.
    """
    assert trial.best is not None
    config = apply(setup.tuning.bases, trial.settings)
    return config.model_copy(update={"train": config.train.model_copy(update={"stop_after": trial.best.epoch})})


def write_outputs(setup: Setup, chosen: TuneTrial, trials: list[TuneTrial], reporter: Reporter) -> Results:
    """Write everything but the journal into the folder of the search, which is then also a run's folder.

    Args:
        setup: Of the search.
        chosen: The trial to keep.
        trials: All of them.
        reporter: Gets stages and progress.

    Returns:
        The results, whose scores are those of questions that the search never looked at.

    Raises:
        EffaceError: A file cannot be written.
    """
    paths, folder = setup.paths, RunFolder(setup.paths.root)
    config = best_config(setup, chosen)
    text = to_yaml(config)
    same = paths.best.is_file() and paths.best.read_text(encoding="utf-8", errors="replace") == text
    if not same:
        _remove_earlier(folder)
    earlier = folder.read_manifest() if same else None
    write_text(paths.table, trials_csv(trials, setup))
    metadata = RunMetadata(folder, config, earlier or _manifest(setup, chosen, config))
    stages = replace(setup.stages, folder=folder, sets=setup.held_out.reported, metadata=metadata, reporter=reporter)
    metadata.start()
    folder.write_records("before", setup.reported_before)
    if not folder.model.is_dir():
        save_model(setup, chosen)
    records = stages.after(setup.reported_before)
    results = _results(setup, chosen, trials, config, records)
    metadata.set_peak_memory(peak_memory(setup.prepared.device))
    write_card(folder.model, config, metadata.manifest, results)
    write_text(paths.best, text)
    folder.write_results(results)
    write_text(paths.page, render_page([load_report_run(paths.root)], version=efface.__version__))
    return results


def _results(
    setup: Setup, chosen: TuneTrial, trials: list[TuneTrial], config: RunConfig, records: RecordSets
) -> Results:
    """Scores of the reported questions, before and after."""
    metrics = custom_metrics(config.plugins)
    return Results(
        definition=config.definition,
        method=config.method,
        before=score_records(setup.reported_before, config.definition, metrics),
        after=score_records(records, config.definition, metrics),
        verdict=verdict(
            judge_records(setup.reported_before, setup.prepared.task.refusals),
            judge_records(records, setup.prepared.task.refusals),
            own_answers=config.data.retain == MODEL_ANSWERS,
        ),
        tune=_summary(setup, chosen, trials, share=setup.compare(setup.reported_before, records).share),
    )


def trials_csv(trials: list[TuneTrial], setup: Setup) -> str:
    """One row per trial: its settings, its best candidate, and the full scores where there are some.

    Args:
        trials: Of the search, in their order.
        setup: Its space gives the columns of settings.

    Returns:
        The text of a CSV file with a header.
    """
    keys = list(setup.space)
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    full = [f"full_{each}" for each in _SHARES]
    rows.writerow(["trial", "state", *keys, "candidates", "epoch", *_SHARES, *full, "seconds"])
    for each in trials:
        rows.writerow(
            [
                each.number,
                each.state,
                *(each.settings.get(key, "") for key in keys),
                each.candidates,
                each.best.epoch if each.best else "",
                *_shares(each.best),
                *_shares(each.full),
                each.seconds,
            ]
        )
    return file.getvalue()


def _shares(candidate: TuneCandidate | None) -> list[float | str]:
    """The values of `_SHARES`, empty ones without a candidate."""
    if candidate is None:
        return [""] * len(_SHARES)
    return [candidate.kept, candidate.promised, candidate.utility, candidate.forget_efficacy]


def _summary(setup: Setup, chosen: TuneTrial, trials: list[TuneTrial], *, share: float) -> TuneSummary:
    assert chosen.full is not None
    keep = setup.tuning.keep
    return TuneSummary(
        keep=keep,
        held=chosen.full.score(keep) >= 0,
        chosen=chosen.number,
        kept=share,
        searched=describe(setup.space),
        questions_searched={each.name: len(each.items) for each in setup.held_out.searched},
        questions_reported={each.name: len(each.items) for each in setup.held_out.reported},
        forget_note=setup.forget_note,
        trials=trials,
    )


def _manifest(setup: Setup, chosen: TuneTrial, config: RunConfig) -> Manifest:
    """That of the search, with what was found."""
    note = f"settings found by efface tune with --keep {setup.tuning.keep:g}: trial {chosen.number}"
    return setup.prepared.manifest.model_copy(
        update={
            "notes": [*setup.prepared.plan.reference.notes, note],
            "method_pages": method_pages(config.method),
            "defaults": dict(setup.defaults_of(config.method)),
            "files": {},
            "writing": {},
        }
    )


def _remove_earlier(folder: RunFolder) -> None:
    """Remove the outputs of an earlier choice."""
    folder.results.unlink(missing_ok=True)
    for path in (folder.model, folder.adapter, folder.records_root, folder.evaluating("after").parent):
        shutil.rmtree(path, ignore_errors=True)
    for file in (folder.config, folder.manifest):
        file.unlink(missing_ok=True)
