from __future__ import annotations

import pytest

from efface.report.number_format import format_bytes, format_number, pluralize


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.12345, "0.123"), (1.0, "1.000"), (0.0, "0.000")])
def test_scores(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 runs"), (1, "1 run"), (1200, "1,200 runs")])
def test_counts(count: int, text: str) -> None:
    assert pluralize(count, "run") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1000, "0.977 KiB"), (1536, "1.5 KiB"), (80 * 2**30, "80 GiB"), (5e15, "4.55e+03 TiB")],
)
def test_sizes(count: float, text: str) -> None:
    assert format_bytes(count) == text
