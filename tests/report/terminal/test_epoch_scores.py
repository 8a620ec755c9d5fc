"""Scores by epoch: which epoch is the best one and which was saved; partial scores where one metric is missing."""

from __future__ import annotations

import io

from rich.console import Console

from efface.artifacts import METRICS, EpochScores, Partial, Results, Scores, SetScores, Trajectory
from efface.report.terminal.epoch_scores import print_trajectory
from efface.report.terminal.results import print_results

ONE = SetScores(n=7, **dict.fromkeys(METRICS, 0.5))


def scores(utility: float, efficacy: float, *, complete: bool = True) -> Scores:
    values = {"model_utility": utility, "model_utility_retain": utility, "forget_efficacy": efficacy}
    return Scores(
        **(values if complete else dict.fromkeys(values)),
        partial=Partial(**{name: value / 2 for name, value in values.items()}, metrics=["rouge"]),
        missing={},
        embedder=None,
        judge=None,
        sets={"forget": ONE},
    )


def trajectory(*each: Scores, best: int | None = 1, kept: int = 2) -> Trajectory:
    epochs = [EpochScores(epoch=n, step=5 * n, scores=scores) for n, scores in enumerate(each, 1)]
    return Trajectory(epochs=epochs, best=best, kept=kept)


def shown(function, *arguments) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    function(console, *arguments)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_best_and_the_saved_epoch_are_marked():
    lines = shown(print_trajectory, "me+gd", trajectory(scores(0.8, 0.6), scores(0.4, 0.9)))
    assert "Scores by epoch (ME+GD)" in lines
    assert "1 5 0.800 0.600 best" in lines
    assert "2 10 0.400 0.900 saved" in lines
    only = shown(print_trajectory, "me", trajectory(scores(0.8, 0.6), kept=1))
    assert "1 5 0.800 0.600 best, saved" in only
    assert not any("artial" in line for line in lines)


def test_all_epochs_are_partial_where_one_is():
    complete, partial = scores(0.8, 0.6), scores(0.4, 0.8, complete=False)
    lines = shown(print_trajectory, "me", trajectory(complete, partial, best=None))
    assert "1 5 0.400 0.300" in lines
    assert "2 10 0.200 0.400 saved" in lines
    assert any(line.startswith("Partial, over the metrics") for line in lines)


def test_results_include_it_where_epochs_were_scored():
    results = Results(definition="closer-look", method="me", before=scores(0.9, 0.1), after=scores(0.4, 0.9))
    assert not any("by epoch" in line for line in shown(print_results, {"me": results}))
    results.trajectory = trajectory(scores(0.8, 0.6), scores(0.4, 0.9))
    assert "1 5 0.800 0.600 best" in shown(print_results, {"me": results})
