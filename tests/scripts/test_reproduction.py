"""scripts/reproduction.py: the tables of a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import reproduction as script


def searched(method: str, rate: float, *, utility: float, efficacy: float, others: bool) -> dict[str, Any]:
    """One run of a search, as scripts/reproduction_tuned.py collects it."""
    scores = [
        {
            "model_utility": None,
            "forget_efficacy": None,
            "partial": {"model_utility": mine, "model_utility_retain": 0.5, "forget_efficacy": efficacy},
            "sets": dict.fromkeys(("retain", "forget", "world_facts") if others else ("retain", "forget")),
        }
        for mine in (0.5, utility)
    ]
    return {
        "kind": "search",
        "name": method.upper(),
        "method": method,
        "settings": {"epochs": 5, "lr": rate, "forget_coeff": 0.1},
        "before": scores[0],
        "after": scores[1],
        "answers": {"forget": {"right": 1, "declined": 2}, "retain": {"made_up": 3, "silent": 4}},
    }


def lines(command: Any, runs: list[dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a command prints about these runs."""
    (folder / "runs.json").write_text(json.dumps({"schema": 1, "models": runs}))
    command(folder / "runs.json")
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("others", "cell"), [(False, "0.900 / 0.700"), (True, "0.900 / 1.000 / 0.700")])
def test_candidates_are_named_by_what_differs(
    others: bool, cell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        searched("me+gd", 1e-4, utility=0.45, efficacy=0.7, others=others),
        searched("ga+gd", 5e-5, utility=0.5, efficacy=0.1, others=others),
    ]
    table = lines(script.search, runs, tmp_path, capsys)
    assert table[0] == "| searched | rate 5e-05 | rate 0.0001 |"
    assert [line.split(" | ")[0] for line in table[2:]] == ["| GA+GD", "| ME+GD"]
    assert table[3] == f"| ME+GD |  | {cell} |"


def test_answers_of_both_sets_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [searched("me+gd", 1e-4, utility=0.45, efficacy=0.7, others=True)]
    assert (
        lines(script.answers, runs, tmp_path, capsys)[2] == "| ME+GD | 5, 0.0001, 0.1 | 1 / 2 / 0 / 0 | 0 / 0 / 3 / 4 |"
    )
