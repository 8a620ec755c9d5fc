"""The table of a sweep: means over seeds and how far they spread. No torch."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from efface.artifacts import Metric, Partial, Scores
from efface.frozen import FrozenModel
from efface.report.rich_tables import plain_table, print_line, shown_number
from efface.report.sanitize import one_line

_AGGREGATES = {
    "model_utility": "Model\nutility",
    "model_utility_retain": "Utility\non retain",
    "forget_efficacy": "Forget\nefficacy",
}
SEED = "seed"
"""The setting that rows are means over."""


@dataclass(frozen=True)
class Entry:
    """One model of a sweep."""

    group: object
    """The same for models that can be compared."""
    definition: str
    values: Mapping[str, Any]
    """Setting of the grid -> its value, the seed's too."""
    scores: Scores | None
    """None where it failed."""
    error: str | None = None
    baseline: str | None = None
    """What it is called where it is no run of the grid, but compared with."""
    requests: int | None = None
    """How many requests were unlearned in turn; None for a single one."""
    downstream: float | None = None
    """Average over downstream tasks, where they were scored."""


class Spread(FrozenModel):
    """A mean over seeds."""

    mean: float
    spread: float | None
    """Sample standard deviation (divisor n - 1); None for one seed."""


class Aggregates(FrozenModel):
    """Of each the mean; None where one of the seeds has none."""

    model_utility: Spread | None
    model_utility_retain: Spread | None
    forget_efficacy: Spread | None


class PartialAggregates(Aggregates):
    """Over the metrics alone that every set has."""

    metrics: list[Metric]


class SummaryRow(Aggregates):
    """A combination of the grid without its seeds, or a baseline."""

    baseline: str | None
    settings: dict[str, Any]
    n: int
    """So many seeds are in the means."""
    seeds: list[Any]
    partial: PartialAggregates | None
    """None where the seeds do not have the same metrics."""
    downstream: Spread | None
    """Average over downstream tasks; None where they were not scored."""
    failed: list[str]
    """Of those that failed: seed and why."""


class Group(FrozenModel):
    """What can be compared: the same questions to the same model before unlearning, scored in the same way."""

    where: dict[str, Any]
    """The settings of the grid that set it apart from other groups."""
    definition: str
    requests: int | None
    """Where several were unlearned in turn, how many: scores are those after the last."""
    rows: list[SummaryRow]


class SweepTable(FrozenModel):
    """Everything that a sweep found."""

    groups: list[Group]
    notes: list[str]
    """What a reader of the means should know."""

    @property
    def failures(self) -> list[str]:
        """One sentence for each run and baseline that failed."""
        return [failure for group in self.groups for row in group.rows for failure in row.failed]


def sweep_table(entries: Sequence[Entry], notes: Sequence[str]) -> SweepTable:
    """Put the entries into groups, in the order of the runs and baselines first, and average over seeds."""
    runs = [entry for entry in entries if entry.baseline is None]
    varied = [key for key in dict.fromkeys(key for run in runs for key in run.values) if _differ(runs, key)]
    groups: list[Group] = []
    for name in dict.fromkeys(run.group for run in runs):
        members = [entry for entry in entries if entry.group == name]
        own = [entry for entry in members if entry.baseline is None]
        where = [key for key in varied if key != SEED and not _differ(own, key)]
        groups.append(
            Group(
                where={key: own[0].values[key] for key in where},
                definition=own[0].definition,
                requests=own[0].requests,
                rows=[_row(each, where) for each in _rows(members)],
            )
        )
    return SweepTable(groups=groups, notes=list(notes))


def print_sweep_table(console: Console, found: SweepTable) -> None:
    """One table for each group; where an aggregate cannot be had, the partial ones, and over which metrics."""
    for group in found.groups:
        _print_group(console, group)
    for failure in found.failures:
        print_line(console, f"failed: {failure}", style="red")
    for note in found.notes:
        print_line(console, f"note: {note}", style="yellow")
    spread = "after ± the standard deviation over seeds" if _has_spread(found) else "of one seed each"
    print_line(console, f"From 0 to 1; of utility and efficacy, more is better; {spread}.", style="dim")


def combination_name(values: Mapping[str, Any]) -> str:
    """A combination in words, such as `method=me+gd seed=0`."""
    return " ".join(f"{key}={display_value(value)}" for key, value in values.items())


def display_value(value: Any) -> str:
    """A setting's value as one types it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _print_group(console: Console, group: Group) -> None:
    metrics = _partial_metrics(group.rows)
    kind = "Scores" if metrics is None else "Partial scores"
    when = "" if group.requests is None else f" after {group.requests} requests"
    title = f"{kind}{when} ({group.definition})" + (f": {combination_name(group.where)}" if group.where else "")
    table = plain_table(one_line(title))
    keys = list(dict.fromkeys(key for row in group.rows for key in row.settings))
    for key in keys:
        table.add_column(Text(key), overflow="fold")
    downstream = any(row.downstream for row in group.rows)
    for heading in (*_AGGREGATES.values(), *(["Downstream"] if downstream else []), "n"):
        table.add_column(heading, justify="right")
    for row in group.rows:
        names = (
            [display_value(row.settings[key]) for key in keys]
            if row.baseline is None
            else [row.baseline, *[""] * (len(keys) - 1)]
        )
        means = row if metrics is None else row.partial
        numbers = [_number(getattr(means, aggregate, None)) for aggregate in _AGGREGATES]
        numbers += [_number(row.downstream)] if downstream else []
        count = f"{row.n}, {len(row.failed)} failed" if row.failed else str(row.n)
        table.add_row(*(Text(one_line(name)) for name in names), *numbers, count)
    console.print(table)
    if metrics is not None:
        over = ", ".join(metric.replace("_", " ") for metric in metrics)
        print_line(console, f"Partial: over {over} alone, which all sets have.", style="yellow")
    if group.requests is not None:
        print_line(console, "Forget efficacy is that of the last request's own set.", style="dim")


def _partial_metrics(rows: Sequence[SummaryRow]) -> list[Metric] | None:
    """What the partial aggregates are over, where one is needed and all rows have the same; None elsewhere."""
    there = [row for row in rows if row.n]
    needed = any(
        getattr(row, aggregate) is None and getattr(row.partial, aggregate, None) is not None
        for row in there
        for aggregate in _AGGREGATES
    )
    found = [None if row.partial is None else row.partial.metrics for row in there]
    return found[0] if needed and all(metrics == found[0] for metrics in found) else None


def _number(value: Spread | None) -> str:
    if value is None:
        return shown_number(None)
    spread = "" if value.spread is None else f" ± {shown_number(value.spread)}"
    return f"{shown_number(value.mean)}{spread}"


def _has_spread(found: SweepTable) -> bool:
    return any(row.n > 1 for group in found.groups for row in group.rows)


def _rows(members: Sequence[Entry]) -> list[list[Entry]]:
    """The entries of each row: one baseline, or one combination in all its seeds."""
    rows: dict[tuple[str | None, str], list[Entry]] = {}
    for entry in sorted(members, key=lambda each: each.baseline is None):
        rows.setdefault((entry.baseline, _identity(_without_seed(entry))), []).append(entry)
    return list(rows.values())


def _row(entries: Sequence[Entry], where: Sequence[str]) -> SummaryRow:
    first = entries[0]
    scores = [entry.scores for entry in entries if entry.scores is not None]
    settings = {} if first.baseline else {key: v for key, v in _without_seed(first).items() if key not in where}
    failed = [
        f"{entry.baseline or combination_name(entry.values)}: {entry.error}"
        for entry in entries
        if entry.error is not None
    ]
    return SummaryRow(
        baseline=first.baseline,
        settings=settings,
        n=len(scores),
        seeds=[entry.values[SEED] for entry in entries if entry.scores is not None and SEED in entry.values],
        partial=_partial([each.partial for each in scores]),
        downstream=_spread([entry.downstream for entry in entries if entry.scores is not None]),
        failed=failed,
        **_means(scores),
    )


def _means(scores: Sequence[Scores | Partial]) -> dict[str, Spread | None]:
    return {name: _spread([getattr(each, name) for each in scores]) for name in _AGGREGATES}


def _spread(numbers: Sequence[float | None]) -> Spread | None:
    there = [number for number in numbers if number is not None]
    if not there or len(there) < len(numbers):
        return None
    return Spread(mean=statistics.fmean(there), spread=statistics.stdev(there) if len(there) > 1 else None)


def _partial(partials: Sequence[Partial]) -> PartialAggregates | None:
    if not partials or any(each.metrics != partials[0].metrics for each in partials):
        return None
    return PartialAggregates(metrics=partials[0].metrics, **_means(partials))


def _differ(entries: Iterable[Entry], key: str) -> bool:
    return len({_identity(entry.values.get(key)) for entry in entries}) > 1


def _identity(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _without_seed(entry: Entry) -> dict[str, Any]:
    return {key: value for key, value in entry.values.items() if key != SEED}
