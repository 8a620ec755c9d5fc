"""Scores as tables in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.artifacts import METRICS, Downstream, Metric, Results, Scores, SetScores
from efface.report.metric_names import AGGREGATE_NAMES, UNCOUNTED_NAMES
from efface.report.number_format import format_number
from efface.report.sanitize import one_line
from efface.report.terminal.downstream import print_downstream
from efface.report.terminal.epoch_scores import print_trajectory
from efface.report.terminal.rich_tables import empty_table, join_metrics, print_line, print_sources
from efface.report.terminal.verdicts import print_verdicts
from efface.report.verdict_text import ANSWER_TYPES, EFFICACY
from efface.scores.definitions import Definition
from efface.scores.definitions import definition as find_definition

_METRICS: dict[Metric, str] = {
    "rouge": "ROUGE",
    "probability": "Proba-\nbility",
    "truth_ratio": "Truth\nratio",
    "token_entropy": "Token\nentropy",
    "cosine_similarity": "Cosine\nsimil.",
    "entailment": "Entail-\nment",
}


def print_results(console: Console, results: Mapping[str, Results]) -> None:
    """Print the scores of the model before unlearning and of the model of each method.

    Args:
        console: Where to print.
        results: Method -> what `results.json` of its run contains; all runs started from the same model.
    """
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
    _print_other_metrics(console, models)
    print_sources(console, list(models.values()), reasons=False)
    print_verdicts(console, {method: each.verdict for method, each in results.items() if each.verdict is not None})


def print_scores(console: Console, scores: Mapping[str, Any]) -> None:
    """Print the scores of one model.

    Args:
        console: Where to print.
        scores: What `efface.scores.score_path` returns.
    """
    model = Scores.model_validate({name: scores[name] for name in Scores.model_fields if name in scores})
    if model.sets:
        _print_aggregates(console, {"": model}, scores["definition"], {})
        table = _metric_table()
        for name, each in model.sets.items():
            table.add_row(Text(f"{name} ({each.n})", style="bold"), *_metric_row(each))
        _print_metrics(console, table, find_definition(scores["definition"]))
        _print_other_metrics(console, {"": model})
    if logged := scores.get("logged"):
        _print_logged(console, logged)
    if quality := scores.get("forget_quality"):
        print_line(
            console,
            f"Forget quality: p = {quality['p_value']:.4g} (Kolmogorov-Smirnov statistic {quality['statistic']:.4f}); "
            "near 0, the model differs from one that was never trained on the forget set.",
        )
    if leakage := scores.get("privacy_leakage"):
        _print_privacy_leakage(console, leakage)
    if answers := scores.get("hallucinations"):
        shares = ", ".join(f"{name} {answers[field]:.1%}" for field, name in ANSWER_TYPES.items())
        print_line(console, f"The {answers['n']} answers on the forget set, judged by {answers['judge']}: {shares}.")
    if model.sets:
        print_sources(console, [model])


def _print_logged(console: Console, logged: Mapping[str, float | None]) -> None:
    """The aggregates that open-unlearning wrote, as they are."""
    table = empty_table("As open-unlearning logged them")
    table.add_column("")
    table.add_column("Aggregate", justify="right")
    for name, value in logged.items():
        table.add_row(Text(one_line(name), style="bold"), format_number(value))
    console.print(table)


def _print_privacy_leakage(console: Console, leakage: Mapping[str, float | None]) -> None:
    text = f"Privacy leakage: AUC {leakage['auc']:.4f} of Min-40% probability, members against holdout"
    if leakage["auc_retrained"] is not None:
        text += f"; of the retrained model {leakage['auc_retrained']:.4f}"
    if leakage["privleak"] is not None:
        text += f"; PrivLeak {leakage['privleak']:+.1f} %, 0 is ideal"
    if leakage["rel_diff"] is not None:
        text += f"; relative difference of the AUC {leakage['rel_diff']:+.1f} %"
    print_line(console, f"{text}.")


def _downstream(results: Mapping[str, Results]) -> dict[str, Downstream]:
    """The scores on downstream tasks of the same models; empty unless all of them have some."""
    scored = {method.upper(): result.downstream for method, result in results.items() if result.downstream}
    if len(scored) < len(results):
        return {}
    return {"before": next(iter(scored.values())).before, **{name: each.after for name, each in scored.items()}}


def _print_aggregates(
    console: Console, models: Mapping[str, Scores], definition: str, downstream: Mapping[str, Downstream]
) -> None:
    """Model utility and forget efficacy, or the partial ones where one is missing; and the average of `downstream`."""
    metrics = _partial_metrics(list(models.values()))
    table = empty_table(f"Scores ({definition})" if metrics is None else f"Partial scores ({definition})")
    table.add_column("")
    for heading in AGGREGATE_NAMES.values():
        table.add_column(heading, justify="right")
    if downstream:
        table.add_column("Downstream", justify="right")
    for name, scores in models.items():
        shown = scores if metrics is None else scores.partial
        values = [getattr(shown, aggregate) for aggregate in AGGREGATE_NAMES]
        if downstream:
            values.append(downstream[name].average)
        table.add_row(Text(name, style="bold"), *map(format_number, values))
    console.print(table)
    if metrics is not None:
        print_line(
            console,
            f"Partial: over {join_metrics(metrics)}, the metrics that all sets have.",
            style="yellow",
        )
    print_line(console, "All numbers are from 0 to 1; higher utility and efficacy are better.", style="dim")
    print_line(console, f"{EFFICACY}.", style="dim")


def _partial_metrics(models: Sequence[Scores]) -> list[Metric] | None:
    """The metrics of the partial aggregates, where one is needed and all models have the same metrics; else None."""
    needed = any(
        getattr(scores, aggregate) is None and getattr(scores.partial, aggregate) is not None
        for scores in models
        for aggregate in AGGREGATE_NAMES
    )
    metrics = models[0].partial.metrics
    return metrics if needed and all(scores.partial.metrics == metrics for scores in models) else None


def _metric_table() -> Table:
    table = empty_table("Metrics by set (number of questions)")
    table.add_column("")
    for heading in _METRICS.values():
        table.add_column(heading, justify="right")
    return table


def _metric_row(scores: SetScores) -> list[str]:
    return [format_number(getattr(scores, metric)) for metric in METRICS]


def _print_metrics(console: Console, table: Table, definition: Definition) -> None:
    console.print(table)
    exceptions = "token entropy" if definition.forget_form == "distance" else "truth ratio and token entropy"
    print_line(console, f"On forget, lower is better (except {exceptions}); on the other sets, higher is.", style="dim")


def _print_other_metrics(console: Console, models: Mapping[str, Scores]) -> None:
    """One row per set and model; nothing where no metric is outside the aggregates."""
    names = dict.fromkeys(
        name for scores in models.values() for each in scores.sets.values() for name in each.uncounted
    )
    if not names:
        return
    table = empty_table("Other metrics by set")
    table.add_column("")
    for name in names:
        table.add_column(Text(UNCOUNTED_NAMES.get(name, one_line(name))), justify="right", overflow="fold")
    for name, each in next(iter(models.values())).sets.items():
        rows = {model: scores.sets[name].uncounted for model, scores in models.items() if name in scores.sets}
        heading = Text(f"{name} ({each.n})", style="bold")
        if len(models) > 1:
            table.add_row(heading)
        for model, values in rows.items():
            table.add_row(
                Text(f"  {model}") if len(models) > 1 else heading, *(format_number(values.get(key)) for key in names)
            )
    console.print(table)
    print_line(console, "Means over the questions; not part of utility and efficacy.", style="dim")
