"""The plots show the rows."""

from __future__ import annotations

import json

import pytest

pictures = pytest.importorskip("performance_pictures", reason="matplotlib is not installed")

ROW = {"contender": "packed", "shape": "tiny", "method": "me+gd", "dtype": "float32", "device": "a processor"}
COSTS = [
    {"series": series, "x": x, "tokens": 100 * x, "seconds": 0.1 * x, "peak_bytes": 2**30 * x, **ROW}
    for series in ("tokens", "length", "vocabulary")
    for x in (1024, 8192)
]
RUNS = [
    {"series": "forget-set", "x": x, "epoch_seconds": x, "plan_seconds": 0.1, "tokenize_seconds": 0.2, **ROW}
    for x in (40, 200)
]
FAILED = {"series": "tokens", "x": 4096, "failed": "does not fit", **ROW}


def test_lines_are_stored_and_plotted(tmp_path, capsys):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text("".join(json.dumps(row) + "\n" for row in COSTS))
    other.write_text("".join(json.dumps(row) + "\n" for row in (*RUNS, FAILED)))
    pictures.main([str(one), str(other)], tmp_path / "docs")
    assert json.loads((tmp_path / "docs/performance/scaling.json").read_text()) == [*COSTS, *RUNS, FAILED]
    drawn = {path.name: path.read_text() for path in (tmp_path / "docs/images").iterdir()}
    assert set(drawn) == {f"performance-{name}.svg" for name in ("tokens", "length", "vocabulary", "forget-set")}
    assert all("a processor" in text for text in drawn.values())
    pictures.main([], tmp_path / "docs")
    assert {path.name: path.read_text() for path in (tmp_path / "docs/images").iterdir()} == drawn


def test_points_are_the_rows():
    figure = pictures._draw_costs("tokens", [*COSTS[:2], {**COSTS[0], "contender": "padded"}])
    seconds, memory = figure.axes
    assert [list(line.get_xdata()) for line in seconds.lines] == [[102400, 819200], [102400]]
    assert list(memory.lines[0].get_ydata()) == [1024, 8192]
    assert [line.get_linestyle() for line in seconds.lines] == ["-", "--"]
    pictures.pyplot.close(figure)
