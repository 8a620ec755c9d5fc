"""The table of a sweep in the terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from efface.artifacts import Metric
from efface.sweep.print_table import print_sweep_table
from efface.sweep.table import SweepModel, sweep_table
from support.sweeps import scored, scores

HOSTILE = "\x1b[2J[red]gone[/red]"


def printed(*models: SweepModel, notes: tuple[str, ...] = ()) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        print_sweep_table(console, sweep_table(models, notes))
    text = captured.get()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    return text


def partial(value: float, method: str, seed: int, metrics: tuple[Metric, ...] = ("rouge", "truth_ratio")) -> SweepModel:
    return SweepModel("g", "paper", {"method": method, "seed": seed}, scores(None, partial=value, metrics=metrics))


def test_means_with_their_standard_deviation() -> None:
    text = printed(*(scored(value, method="me+gd", seed=seed) for seed, value in enumerate([0.2, 0.4, 0.9])))
    assert "0.500 ± 0.361" in text
    assert "standard" in text
    assert "±" not in printed(scored(0.7, method="ga+gd", seed=0))


def test_groups_one_after_another_with_their_baselines_first() -> None:
    baseline = SweepModel("first", "paper", {}, scores(0.1), baseline="before")
    runs = [scored(group=preset, preset=preset, method="me", seed=0) for preset in ("second", "first")]
    text = printed(baseline, *runs)
    assert text.index("Scores (paper): preset=second") < text.index("Scores (paper): preset=first")
    assert text.index("before") > text.index("preset=first")


def test_partial_aggregates_are_marked() -> None:
    text = printed(partial(0.2, "ga", 0), partial(0.4, "ga", 1))
    assert text.startswith("Partial scores (paper)")
    assert "0.300 ± 0.141" in text
    assert "Partial: over rouge, truth ratio, the metrics that all sets have." in text
    assert "Partial" not in printed(scored(0.2, method="ga"))
    assert "Partial" not in printed(partial(0.2, "ga", 0), partial(0.5, "me", 0, ("rouge",)))  # not comparable


@pytest.mark.parametrize("downstream", [None, 0.25])
def test_downstream_averages(downstream: float | None) -> None:
    text = printed(SweepModel("g", "paper", {"method": "ga", "seed": 0}, scores(0.5), downstream=downstream))
    assert ("Downstream" in text) == ("0.250" in text) == (downstream is not None)


def test_queues_name_the_number_of_requests() -> None:
    text = printed(SweepModel("g", "paper", {"method": "ga"}, scores(0.5), requests=10))
    assert text.startswith("Scores after 10 requests (paper)")
    assert "Forget efficacy is that on the forget set of the last request." in text
    assert "request" not in printed(scored(method="ga"))


def test_failures_and_notes() -> None:
    failed, lost = scored(method="ga", seed=1, error=HOSTILE), SweepModel("g", "paper", {}, None, "x", "random")
    text = printed(scored(0.2, method="ga", seed=0), failed, lost, notes=("of two devices",))
    assert "1, 1 failed" in text
    assert "0, 1 failed" in text
    assert "failed: method=ga seed=1: [2J[red]gone[/red]" in text
    assert "note: of two devices" in text


def test_it_fits_into_80_columns() -> None:
    printed(
        *(
            scored(0.123456, **{"method": "me+gd", "train.lr": lr, "train.lora": {"r": 4}, "seed": seed})
            for lr in (1e-5, "5e-5")
            for seed in (0, 1)
        )
    )
