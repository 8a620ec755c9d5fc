from __future__ import annotations

import pytest

from efface.auditing.attack import ModelName
from efface.auditing.fact import Row
from efface.auditing.measures.share_left import means_by_model, share_left


def row(number: float) -> Row:
    return Row(attack="a", variant="plain", seed=0, fact="f", hit=None, numbers={"x": number})


def test_models_without_rows_have_no_mean() -> None:
    assert means_by_model({"before": [row(1), row(2)], "control": []}, "x") == {"before": 1.5}


def test_what_is_left_is_between_control_and_before() -> None:
    means: dict[ModelName, float] = {"before": 0.9, "control": 0.1, "after": 0.3}
    assert share_left(means) == pytest.approx(0.25)
    assert share_left({**means, "after": 0.1}) == 0
    assert share_left({**means, "control": 0.89}) is None
    assert share_left({"before": 0.9, "after": 0.3}) is None
