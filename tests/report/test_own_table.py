"""The table of the user's own metrics."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from efface.artifacts import METRICS, Partial, Results, Scores, SetScores
from efface.report.terminal.results import print_results, print_scores

HOSTILE = "\x1b[2J[red]gone[/red]"


def scores(forget: dict[str, float | None], retain: dict[str, float | None]) -> Scores:
    sets = {"retain": retain, "forget": forget}
    six = dict.fromkeys(METRICS, 0.5)
    return Scores(
        model_utility=0.5,
        model_utility_retain=0.5,
        forget_efficacy=0.5,
        partial=Partial(model_utility=0.5, model_utility_retain=0.5, forget_efficacy=0.5, metrics=[]),
        missing={},
        embedder=None,
        judge=None,
        sets={name: SetScores(n=4, **six, custom=own) for name, own in sets.items()},
    )


def rows(function: Any, *arguments: Any) -> list[list[str]]:
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        function(console, *arguments)
    text = captured.get()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("Own metrics by set")), len(lines))
    return [line.split() for line in lines[start:] if line.strip()]


def test_before_and_after_of_each_set() -> None:
    before, after = scores({"declines": 0.25, "words": 12.0}, {"declines": 0.0, "words": None}), scores({}, {})
    after.sets["forget"].custom = {"declines": 0.75, "words": 3.5}
    shown = rows(print_results, {"me+gd": Results(definition="paper", method="me+gd", before=before, after=after)})
    assert ["declines", "words"] in shown
    forget, retain = shown.index(["forget", "(4)"]), shown.index(["retain", "(4)"])
    assert shown[retain + 1 : retain + 3] == [["before", "0.000", "-"], ["ME+GD", "-", "-"]]
    assert shown[forget + 1 : forget + 3] == [["before", "0.250", "12.000"], ["ME+GD", "0.750", "3.500"]]


def test_one_model_and_a_hostile_name() -> None:
    one = scores({HOSTILE: 0.25}, {HOSTILE: 0.5}).model_dump()
    shown = rows(print_scores, {"definition": "paper", **one})
    assert ["forget", "(4)", "0.250"] in shown
    assert any("[red]gone[/red]" in word for line in shown for word in line)


def test_no_table_without_any() -> None:
    assert rows(print_scores, {"definition": "paper", **scores({}, {}).model_dump()}) == []
