"""Lines of metrics.jsonl on what was watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.report.page.loss_curve import read_steps
from efface.report.page.watch_curve import read_watched

LINE = (
    '{"step": 4, "epoch": 2, "forget_answer": -1.5, "forget_refusal": null, "retain_answer": NaN, '
    '"retain_refusal": -2, "ap_weight": 0.5}\n'
)
STEP = '{"step": 4, "steps": 4, "loss": 1, "forget": 1, "retain": 1}\n'


def test_lines_of_steps_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert read_watched(file) == []
    file.write_text(STEP + LINE)
    [found] = read_watched(file, earlier_steps=10, prefix="request 2, ")
    assert (found.label, found.step, found.ap_weight) == ("request 2, epoch 2", 14, 0.5)
    assert (found.forget_answer, found.forget_refusal, found.retain_answer) == (-1.5, None, None)
    assert len(read_steps(file)) == 1


@pytest.mark.parametrize("changed", [("-1.5", '"many"'), ('"epoch": 2', '"epoch": "two"'), (', "ap_weight": 0.5', "")])
def test_a_damaged_line_is_named(tmp_path: Path, changed: tuple[str, str]) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(STEP + LINE.replace(*changed))
    with pytest.raises(EffaceError, match=r"metrics\.jsonl, line 2 is damaged"):
        read_watched(file)
