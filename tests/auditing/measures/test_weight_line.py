from __future__ import annotations

import pytest
import torch

from efface.auditing.measures.weight_line import WeightLine
from support.audit_models import InMemory, knowing, not_knowing, subject


def test_points_are_reached_forwards_and_backwards() -> None:
    model, start, end = not_knowing(), not_knowing(), knowing()
    line = WeightLine(model, InMemory(subject(end)))
    for share in (0.0, 0.75, 0.25, 0.5, 1.0, 1.0):
        line.move(share)
        for ours, first, last in zip(model.parameters(), start.parameters(), end.parameters(), strict=True):
            assert torch.allclose(ours, torch.lerp(first, last, share), atol=1e-5)
    with pytest.raises(AssertionError):
        line.move(0.5)
