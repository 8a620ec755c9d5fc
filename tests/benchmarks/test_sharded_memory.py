"""The comparison of processes; the runs themselves take minutes."""

from __future__ import annotations

import sys

import pytest

import sharded_memory as module


def runs(monkeypatch, peaks):
    """`measure` on runs with these bytes, by number of processes."""
    made = {
        count: {
            "bytes": dict.fromkeys(module.PHASES, each),
            "losses": [1.0, 2.0 + 1e-6 * (count - 1)],
            "outputs": ["a", "b" if count < 4 else "c"],
        }
        for count, each in peaks.items()
    }
    monkeypatch.setattr(module, "_call", lambda _: None)
    monkeypatch.setattr(module, "_run", lambda count, *_: made[count])


def test_the_largest_process_is_compared_with_the_only_one(monkeypatch, tmp_path):
    runs(monkeypatch, {1: [1000], 2: [600, 651], 4: [400, 390, 399, 100]})
    report = module.measure("tiny", [2, 4], tmp_path)
    assert [(row["ratio"], row["within"]) for row in report["rows"]] == [(0.651, False)] * 5 + [(0.4, True)] * 5
    assert report["loss_difference"] == {2: pytest.approx(5e-7), 4: pytest.approx(1.5e-6)}
    assert report["outputs_that_differ"] == {2: 0, 4: 1}
    table = module._table(report)
    assert table.count("above") == 5
    assert "1 of 2 outputs differ" in table


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_reset(tmp_path):
    before = module._resident("VmRSS")
    block = bytearray(1 << 26)
    block[:: 1 << 12] = b"1" * len(block[:: 1 << 12])
    assert module._resident("VmHWM") >= before + (1 << 26)
    del block
    module._reset_peak()
    assert module._resident("VmHWM") < before + (1 << 25)
