"""Counting what a step launches."""

from __future__ import annotations

import json

import launches


def test_weights_that_are_cast_once_launch_less(capsys):
    assert launches.main(["--shape", "tiny", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    for kind in ("all weights", "adapters"):
        assert 0.8 * report[kind]["bf16 autocast"] < report[kind]["bf16"] < report[kind]["bf16 autocast"]
