"""Scores on downstream tasks: their own table, and their average next to utility and efficacy."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from efface.artifacts import (
    METRICS,
    ContinualResults,
    Downstream,
    DownstreamResults,
    Partial,
    Results,
    Scores,
    SetScores,
    TaskScore,
)
from efface.report.terminal.continual import print_continual
from efface.report.terminal.downstream import print_downstream
from efface.report.terminal.results import print_results
from efface.scores.continual import continual_results

AGGREGATES = {"model_utility": 0.711, "model_utility_retain": 0.822, "forget_efficacy": 0.933}
ONE = SetScores(n=7, **dict.fromkeys(METRICS, 0.5))
SCORES = Scores(
    **AGGREGATES,
    partial=Partial(**AGGREGATES, metrics=list(METRICS)),
    missing={},
    embedder=None,
    judge=None,
    sets={"forget": ONE, "forgotten-1": ONE},
)


def downstream(value: float) -> Downstream:
    """The paper's tasks, with one value for all."""

    def task(metric: str, n: int, examples: int | None, error: float | None = 0.0131) -> TaskScore:
        return TaskScore(metric=metric, value=value, standard_error=error, n=n, num_fewshot=examples)

    tasks = {
        "truthfulqa_mc1": task("acc", 817, 0, None),
        "gsm8k": task("exact_match,flexible-extract", 1319, 5),
        "mmlu": task("acc", 14042, None),
    }
    return Downstream(lm_eval="0.4.13", average=value, tasks=tasks)


def results(before: float | None = None, after: float = 0.0) -> Results:
    found = None
    if before is not None:
        found = DownstreamResults(before=downstream(before), after=downstream(after))
    return Results(definition="paper", method="me+gd", before=SCORES, after=SCORES, downstream=found)


def shown(function, *arguments, width: int = 80) -> list[list[str]]:
    console = Console(width=width, file=io.StringIO())
    function(console, *arguments)
    text = console.file.getvalue()
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    return [line.split() for line in text.splitlines()]


def test_two_models_side_by_side():
    lines = shown(print_downstream, {"before": downstream(0.5), "ME+GD": downstream(0.25)})
    assert ["truthfulqa_mc1", "acc", "817", "0", "0.500", "0.250"] in lines
    assert ["gsm8k", "exact_match,", "1319", "5", "0.500±0.013", "0.250±0.013"] in lines
    assert ["flexible-extract"] in lines
    assert ["mmlu", "acc", "14042", "-", "0.500±0.013", "0.250±0.013"] in lines
    assert ["average", "0.500", "0.250"] in lines


def test_the_average_is_next_to_utility_and_efficacy():
    lines = shown(print_results, {"me+gd": results(0.5, 0.25), "npo": results(0.5, 0.75)})
    for name, value in (("before", "0.500"), ("ME+GD", "0.250"), ("NPO", "0.750")):
        assert [name, "0.711", "0.822", "0.933", value] in lines
    assert ["average", "0.500", "0.250", "0.750"] in lines


@pytest.mark.parametrize("several", [{"me+gd": results()}, {"me+gd": results(0.5), "npo": results()}])
def test_without_scores_of_all_models_there_is_no_column(several):
    lines = shown(print_results, several)
    assert ["ME+GD", "0.711", "0.822", "0.933"] in lines
    assert not any("Downstream" in line for line in lines)


def continual(*each: Results) -> ContinualResults:
    return continual_results(each, {}, ["first.csv", "second.csv"], "paper")


def test_a_queue_has_a_row_of_averages(monkeypatch):
    first = SCORES.model_copy(update={"sets": {"forgotten-1": ONE, "forgotten-2": ONE}})
    monkeypatch.setattr("efface.scores.continual.score_records", lambda *_: first)
    found = continual(results(0.5, 0.25), results(0.5, 0.125))
    assert [each.average for each in found.downstream] == [0.5, 0.25, 0.125]
    lines = shown(print_continual, found)
    assert ["Downstream", ".500", ".250", ".125"] in lines
    text = [" ".join(line) for line in lines]
    assert "Downstream: the average of truthfulqa_mc1, gsm8k, mmlu, by lm-evaluation-harness" in text
    without = continual(results(0.5, 0.25), results())
    assert without.downstream == []
    assert not any("Downstream" in line for line in shown(print_continual, without))
    assert "downstream" not in without.to_json()
