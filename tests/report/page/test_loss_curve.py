"""Losses on their way to a curve."""

from __future__ import annotations

import itertools
from pathlib import Path

from efface.report.page.loss_curve import Step, read_steps, thinned


def test_what_is_not_finite_is_left_open(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "steps": 2, "loss": NaN, "forget": -Infinity, "retain": 0.5}\n')
    assert read_steps(file) == [Step(1, 2, None, None, 0.5)]
    assert read_steps(tmp_path / "none") == []


def test_a_long_curve_keeps_its_ends() -> None:
    steps = [Step(number, 5000, 1.0, 1.0, 1.0) for number in range(1, 5001)]
    places = [place for place, _ in thinned(steps)]
    assert len(places) == 400
    assert (places[0], places[-1]) == (1, 5000)
    assert max(after - before for before, after in itertools.pairwise(places)) <= 13
    assert [place for place, _ in thinned(steps[:3])] == [1, 2, 3]
