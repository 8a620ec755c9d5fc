"""The section of a report on `efface tune`: all trials, the bound, and the one that was chosen. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from efface.artifacts import Results
from efface.artifacts.tune import TuneCandidate, TuneSummary, TuneTrial
from efface.report.number_format import format_number, pluralize
from efface.report.page.load_run import ReportRun
from efface.report.page.tables import Table

_MOST_ROWS = 200
"""Trials in the table; the others are in trials.csv."""


@dataclass(frozen=True)
class TuneSection:
    """What the template shows."""

    sentences: tuple[str, ...]
    table: Table
    chart: dict[str, object]
    """For the script: `keep`, and `groups` of points with `name`, `type` (trial, chosen) and `points`."""


def tune_section(run: ReportRun) -> TuneSection | None:
    """The section on a search; None for any other run.

    Args:
        run: The folder.
    """
    found = run.results.tune if isinstance(run.results, Results) else None
    if found is None:
        return None
    return TuneSection(tuple(_sentences(found)), _table(found), _chart(found))


def _sentences(found: TuneSummary) -> Iterator[str]:
    chosen = _chosen(found)
    scored = chosen.full or chosen.best
    assert scored is not None
    if found.held:
        yield (
            f"Trial {chosen.number} of {found.begun} forgets most of those that keep at least {found.keep:g} of "
            f"the utility: {format_number(scored.kept)} on the questions of the search, and at least "
            f"{format_number(scored.promised)} on others at a confidence of 95 %."
        )
    else:
        yield (
            f"No trial keeps {found.keep:g} of the utility for certain. The nearest was left, trial {chosen.number} "
            f"of {found.begun}: it keeps {format_number(scored.kept)} on the questions of the search, but only "
            f"{format_number(scored.promised)} can be promised for others at a confidence of 95 %. Allow more "
            "trials, score more retain questions (data.retain_evaluation), or lower --keep."
        )
    missing = found.begun - len(found.trials)
    if missing > 0:
        yield f"Without a result, as its process was killed or has not ended: {pluralize(missing, 'trial')}."
    searched, reported = (_counts(each) for each in (found.questions_searched, found.questions_reported))
    yield (
        f"The scores above and below are those of the reported questions ({reported}). Those of the retain sets are "
        f"not among the questions of the search ({searched}); on them, it keeps {format_number(found.kept)} of the "
        f"utility. {found.forget_note}"
    )
    yield (
        "Each point is the best epoch of a trial, scored on a part of the questions of the search; the chosen one is "
        "scored on all of them. What is compared with the bound is the share that is kept less a margin for the number "
        "of questions: share - 1.645 s sqrt(1 + n/m), with s its standard error over the n questions of the search "
        "and m reported ones; of known facts, the lower limit of Jeffreys' interval."
    )


def _table(found: TuneSummary) -> Table:
    keys = list(found.searched)
    ranked = sorted(found.trials, key=lambda each: (each.number != found.chosen, -_order(each, found.keep)))
    rows = []
    for trial in ranked[:_MOST_ROWS]:
        best = trial.full or trial.best
        numbers = ("kept", "promised", "forget_efficacy")
        rows.append(
            [
                f"{trial.number}{' (chosen)' if trial.number == found.chosen else ''}",
                *(_value(trial.settings.get(key)) for key in keys),
                str(best.epoch) if best else trial.state,
                *(format_number(getattr(best, each, None)) for each in numbers),
                "all" if trial.full else "a part",
            ]
        )
    left = len(found.trials) - len(rows)
    title = "Trials, the chosen one first" + (f"; {pluralize(left, 'further one')} in trials.csv" if left else "")
    headings = ["Trial", *keys, "Epoch", "Utility kept", "At least", "Forget efficacy", "Questions"]
    return Table(title, headings, rows)


def _chart(found: TuneSummary) -> dict[str, object]:
    chosen = _chosen(found)
    groups: dict[str, list[dict[str, object]]] = {}
    for trial in found.trials:
        if trial.best is not None and trial.number != found.chosen:
            groups.setdefault(str(trial.settings.get("method", "trials")), []).append(_point(trial, trial.best))
    scored = chosen.full or chosen.best
    assert scored is not None
    return {
        "keep": found.keep,
        "groups": [
            *({"name": name, "type": "trial", "points": points} for name, points in sorted(groups.items())),
            {"name": "chosen", "type": "chosen", "points": [_point(chosen, scored)]},
        ],
    }


def _point(trial: TuneTrial, candidate: TuneCandidate) -> dict[str, object]:
    settings = ", ".join(f"{key} {_value(value)}" for key, value in trial.settings.items())
    return {
        "x": round(candidate.kept, 4),
        "y": round(candidate.forget_efficacy, 4),
        "label": f"trial {trial.number}, epoch {candidate.epoch}: {settings}",
    }


def _order(trial: TuneTrial, keep: float) -> float:
    return -math.inf if trial.best is None else trial.best.score(keep)


def _chosen(found: TuneSummary) -> TuneTrial:
    return next(each for each in found.trials if each.number == found.chosen)


def _counts(questions: dict[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in questions.items())


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)
