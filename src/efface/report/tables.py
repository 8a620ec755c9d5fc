"""Scores as tables in the terminal. No torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from efface.artifacts import METRICS, Record, Results, Scores

_SHORT = {
    "rouge": "ROUGE",
    "probability": "Prob.",
    "truth_ratio": "Truth r.",
    "token_entropy": "Entropy",
    "cosine_similarity": "Cosine",
    "entailment": "Entail.",
}


def print_results(console: Console, results: Mapping[str, Results]) -> None:
    """One row for the model before unlearning and one for each method, with the forget set's metrics beside."""
    first = next(iter(results.values()))
    table = Table(title=f"Scores ({first.definition})", title_justify="left", header_style="bold")
    table.add_column("")
    for name in ("Utility", "Utility retain", "Forget efficacy"):
        table.add_column(name, justify="right")
    for metric in METRICS:
        table.add_column(f"{_SHORT[metric]}\nforget", justify="right")
    table.add_row("before", *_row(first.before))
    for method, result in results.items():
        table.add_row(method.upper(), *_row(result.after))
    console.print(table)
    console.print(
        "Utility: harmonic mean over what must stay, higher is better. Forget efficacy: 1 - mean over what must go "
        "(entropy aside), higher is better.",
        style="dim",
    )
    _print_sources(console, first.after.model_dump())


def print_scores(console: Console, scores: Mapping[str, Any]) -> None:
    """One model's scores: a row for each set, then the aggregates. `scores` is what `score_path` returns."""
    table = Table(title=f"Scores ({scores['definition']})", title_justify="left", header_style="bold")
    table.add_column("set")
    table.add_column("n", justify="right")
    for metric in METRICS:
        table.add_column(_SHORT[metric], justify="right")
    for name, row in scores["sets"].items():
        table.add_row(name, str(row["n"]), *(_number(row[metric]) for metric in METRICS))
    console.print(table)
    for name in ("model_utility", "model_utility_retain", "forget_efficacy"):
        console.print(f"{name}: {_number(scores[name])}", highlight=False)
    partial = scores["partial"]
    if scores["missing"] and partial["metrics"]:
        over = ", ".join(partial["metrics"])
        values = [f"{name} {_number(value)}" for name, value in partial.items() if name != "metrics"]
        console.print(f"over {over} alone: {', '.join(values)}", highlight=False)
    if "forget_quality" in scores:
        quality = scores["forget_quality"]
        console.print(
            f"forget_quality: p = {quality['p_value']:.4g} (KS statistic {quality['statistic']:.4f})", highlight=False
        )
    _print_sources(console, scores)


def print_answers(
    console: Console, before: Sequence[Record], after: Mapping[str, Sequence[Record]], *, title: str, count: int = 3
) -> None:
    """What the model said to the same questions before and after, side by side."""
    table = Table(title=title, title_justify="left", header_style="bold", show_lines=True)
    for name in ("question", "before", *(method.upper() for method in after)):
        table.add_column(name, ratio=1)
    for index in _spread(len(before), count):
        rows = [rows[index] for rows in after.values()]
        table.add_row(
            *(escape(plain(text)) for text in (before[index].question, before[index].output)), *map(_said, rows)
        )
    console.print(table)


def plain(text: str, longest: int = 160) -> str:
    """Model output as one harmless line: no control codes, no line breaks, cut where it goes on for long."""
    line = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _said(record: Record) -> str:
    return escape(plain(record.output)) or "[dim](nothing)[/]"


def _spread(total: int, count: int) -> list[int]:
    return sorted({index * total // count for index in range(count)}) if total else []


def _row(scores: Scores) -> list[str]:
    forget = scores.sets.get("forget")
    use = scores.partial if scores.model_utility is None else scores
    return [
        *(_number(value) for value in (use.model_utility, use.model_utility_retain, use.forget_efficacy)),
        *(_number(None if forget is None else getattr(forget, metric)) for metric in METRICS),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _print_sources(console: Console, scores: Mapping[str, Any]) -> None:
    """Which models judged, and what is missing."""
    console.print(
        f"Embeddings: {scores['embedder'] or 'none'}; judge: {scores['judge'] or 'none'}.", style="dim", highlight=False
    )
    for what, why in scores["missing"].items():
        console.print(f"missing {what}: {why}", style="yellow", highlight=False, markup=False)
