"""Scores and answers as tables in the terminal, readable at 80 columns. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.artifacts import METRICS, Downstream, Metric, Record, Results, Scores, SetScores
from efface.report.downstream import print_downstream
from efface.report.epoch_scores import print_trajectory
from efface.report.rich_tables import plain_table, print_line, print_sources, shown_number
from efface.report.sanitize import one_line
from efface.scores.definitions import Definition
from efface.scores.definitions import definition as find_definition
from efface.spacing import evenly_spaced

_AGGREGATES = {
    "model_utility": "Model utility",
    "model_utility_retain": "Utility on retain",
    "forget_efficacy": "Forget efficacy",
}
_METRICS: dict[Metric, str] = {
    "rouge": "ROUGE",
    "probability": "Proba-\nbility",
    "truth_ratio": "Truth\nratio",
    "token_entropy": "Token\nentropy",
    "cosine_similarity": "Cosine\nsimil.",
    "entailment": "Entail-\nment",
}
_KINDS_OF_ANSWER = ("made_up", "right", "declined", "silent")
_LONGEST_ANSWER = 100


def print_results(console: Console, results: Mapping[str, Results]) -> None:
    """Scores of the model before unlearning and after each method; `results`: method -> scores."""
    first = next(iter(results.values()))
    models = {"before": first.before, **{method.upper(): result.after for method, result in results.items()}}
    downstream = _downstream(results)
    _print_aggregates(console, models, first.definition, downstream)
    for method, result in results.items():
        if result.trajectory is not None:
            print_trajectory(console, method, result.trajectory)
    if downstream:
        print_downstream(console, downstream)
    table = _metric_table()
    for name, scores in first.before.sets.items():
        table.add_row(Text(f"{name} ({scores.n})", style="bold"))
        for model, each in models.items():
            if name in each.sets:
                table.add_row(Text(f"  {model}"), *_metric_row(each.sets[name]))
    _print_metrics(console, table, find_definition(first.definition))
    _print_own(console, models)
    print_sources(console, list(models.values()))


def print_scores(console: Console, scores: Mapping[str, Any]) -> None:
    """Scores of one model: what `efface.scores.score_path` returns."""
    whole = Scores.model_validate({name: scores[name] for name in Scores.model_fields})
    _print_aggregates(console, {"": whole}, scores["definition"], {})
    table = _metric_table()
    for name, each in whole.sets.items():
        table.add_row(Text(f"{name} ({each.n})", style="bold"), *_metric_row(each))
    _print_metrics(console, table, find_definition(scores["definition"]))
    _print_own(console, {"": whole})
    if quality := scores.get("forget_quality"):
        print_line(
            console,
            f"Forget quality: p = {quality['p_value']:.4g} (Kolmogorov-Smirnov statistic {quality['statistic']:.4f}); "
            "near 0, the model can be told from the one that never saw the forget set.",
        )
    if found := scores.get("hallucinations"):
        shares = ", ".join(f"{kind.replace('_', ' ')} {found[kind]:.1%}" for kind in _KINDS_OF_ANSWER)
        print_line(console, f"The {found['n']} answers on the forget set, judged by {found['judge']}: {shares}.")
    print_sources(console, [whole])


def print_answers(
    console: Console, before: Sequence[Record], after: Mapping[str, Sequence[Record]], *, title: str, count: int = 3
) -> None:
    """What the model said to the same questions before and after, side by side; `after`: method -> records."""
    table = plain_table(title, show_lines=True)
    for name, ratio in (("question", 3), ("before", 3), ("after", 5)):
        table.add_column(name, ratio=ratio, overflow="fold")
    said = {method: {record.id: record.output for record in records} for method, records in after.items()}
    shared = [record for record in before if all(record.id in outputs for outputs in said.values())]
    for record in evenly_spaced(shared, count):
        cell = Table.grid(padding=(0, 1))
        cell.add_column(no_wrap=True)
        cell.add_column(overflow="fold")
        for method, outputs in said.items():
            cell.add_row(Text(method.upper(), style="bold"), _said(outputs[record.id]))
        table.add_row(_said(record.question), _said(record.output), cell)
    console.print(table)


def _downstream(results: Mapping[str, Results]) -> dict[str, Downstream]:
    """The scores on downstream tasks of the same models, where all of them have some."""
    found = {method.upper(): result.downstream for method, result in results.items() if result.downstream}
    if len(found) < len(results):
        return {}
    return {"before": next(iter(found.values())).before, **{name: each.after for name, each in found.items()}}


def _print_aggregates(
    console: Console, models: Mapping[str, Scores], definition: str, downstream: Mapping[str, Downstream]
) -> None:
    """Model utility and forget efficacy; where one cannot be had, those over the metrics that are there.

    Beside them the average of `downstream`, where there is one: model -> its scores.
    """
    metrics = _partial_metrics(list(models.values()))
    table = plain_table(f"Scores ({definition})" if metrics is None else f"Partial scores ({definition})")
    table.add_column("")
    for heading in _AGGREGATES.values():
        table.add_column(heading, justify="right")
    if downstream:
        table.add_column("Downstream", justify="right")
    for name, scores in models.items():
        shown = scores if metrics is None else scores.partial
        values = [getattr(shown, aggregate) for aggregate in _AGGREGATES]
        if downstream:
            values.append(downstream[name].average)
        table.add_row(Text(name, style="bold"), *map(shown_number, values))
    console.print(table)
    if metrics is not None:
        over = ", ".join(metric.replace("_", " ") for metric in metrics)
        print_line(console, f"Partial: over {over} alone, which all sets have.", style="yellow")
    print_line(console, "All numbers are from 0 to 1; of utility and efficacy, more is better.", style="dim")


def _partial_metrics(models: Sequence[Scores]) -> list[Metric] | None:
    """What the partial aggregates are over, where one is needed and all models have the same; None elsewhere."""
    needed = any(
        getattr(scores, aggregate) is None and getattr(scores.partial, aggregate) is not None
        for scores in models
        for aggregate in _AGGREGATES
    )
    metrics = models[0].partial.metrics
    return metrics if needed and all(scores.partial.metrics == metrics for scores in models) else None


def _metric_table() -> Table:
    table = plain_table("Metrics by set (number of questions)")
    table.add_column("")
    for heading in _METRICS.values():
        table.add_column(heading, justify="right")
    return table


def _metric_row(scores: SetScores) -> list[str]:
    return [shown_number(getattr(scores, metric)) for metric in METRICS]


def _print_metrics(console: Console, table: Table, definition: Definition) -> None:
    console.print(table)
    exceptions = "entropy aside" if definition.forget_form == "distance" else "truth ratio and entropy aside"
    print_line(console, f"On forget, lower is better ({exceptions}); on the other sets, higher is.", style="dim")


def _print_own(console: Console, models: Mapping[str, Scores]) -> None:
    """The user's own metrics, where there are some: one line for each set and model."""
    names = dict.fromkeys(name for scores in models.values() for each in scores.sets.values() for name in each.custom)
    if not names:
        return
    table = plain_table("Own metrics by set")
    table.add_column("")
    for name in names:
        table.add_column(Text(one_line(name)), justify="right", overflow="fold")
    for name, each in next(iter(models.values())).sets.items():
        rows = {model: scores.sets[name].custom for model, scores in models.items() if name in scores.sets}
        heading = Text(f"{name} ({each.n})", style="bold")
        if len(models) > 1:
            table.add_row(heading)
        for model, own in rows.items():
            table.add_row(
                Text(f"  {model}") if len(models) > 1 else heading, *(shown_number(own.get(key)) for key in names)
            )
    console.print(table)
    print_line(console, "Means over the questions; utility and efficacy do not count them.", style="dim")


def _said(text: str) -> Text:
    """Model output or a question: untrusted, so never markup."""
    line = one_line(text, _LONGEST_ANSWER)
    return Text(line) if line else Text("(nothing)", style="dim")
