"""The losses of a training chart."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.report.page.loss_curve import Step, downsample, read_steps


def test_losses_that_are_not_finite_are_none(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "steps": 2, "loss": NaN, "forget": -Infinity, "retain": 0.5}\n')
    assert read_steps(file) == [Step(1, 2, None, None, 0.5)]
    assert read_steps(tmp_path / "none") == []


def test_a_damaged_line_is_named_and_an_incomplete_last_one_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    line = '{"step": 1, "steps": 2, "loss": 1, "forget": 1, "retain": 1}\n'
    file.write_text(f"{line}{line[:9]}")
    assert len(read_steps(file)) == 1
    file.write_text(f'{line}{{"step": 2}}\n')
    with pytest.raises(EffaceError, match=r"metrics\.jsonl, line 2 is damaged"):
        read_steps(file)


def test_a_long_curve_keeps_its_ends() -> None:
    steps = [Step(number, 5000, 1.0, 1.0, 1.0) for number in range(1, 5001)]
    positions = [position for position, _ in downsample(steps)]
    assert len(positions) == 400
    assert (positions[0], positions[-1]) == (1, 5000)
    assert max(after - before for before, after in itertools.pairwise(positions)) <= 13
    assert [position for position, _ in downsample(steps[:3])] == [1, 2, 3]


def test_looks_at_what_is_kept_are_no_steps(tmp_path: Path) -> None:
    lines = ['{"step": 1, "steps": 2, "loss": 1.0, "forget": 1.0, "retain": 0.0}', '{"step": 1, "kept": 0.9}']
    (tmp_path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    assert read_steps(tmp_path / "metrics.jsonl") == [Step(1, 2, 1.0, 1.0, 0.0)]
