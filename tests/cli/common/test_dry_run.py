"""`--dry-run` of run, unlearn, finetune and evaluate: the plan, and nothing written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (
            ["run", "mine.yaml", "method=ga+gd"],
            [
                "data: files: 4 forget items, 5 retain items",
                "method: ga+gd, all weights: 90,864 parameters are trained",
                "steps: 2 (0 of them warm-up) of 2 items, 1 epoch(s); learning rate 1e-05, float32",
                "scored: forget 4, retain 5",
                "missing: cosine_similarity: switched off by evaluate.embedder=none",
                "missing: entailment: switched off by evaluate.judge=none",
            ],
        ),
        (
            ["unlearn", "mine.yaml", "method=ga+gd", "train.lora=true"],
            ["method: ga+gd, adapters: ", "data: files: 4 forget items, 5 retain items"],
        ),
        (
            ["finetune", "data.forget=forget.jsonl", "data.retain=retain.jsonl", "model=MODEL", "text.format=plain"],
            ["data: 9 items to learn", "method: fine-tuning, all weights: 90,864 parameters are trained"],
        ),
        (["evaluate", "mine.yaml", "evaluate.limit=3"], ["scored: forget 3, retain 3", "out: planned: "]),
    ],
)
def test_the_plan_is_printed_and_nothing_is_written(
    efface: Command, here: Path, model: Path, arguments: list[str], facts: list[str]
) -> None:
    before = sorted(here.rglob("*"))
    arguments = [word.replace("MODEL", str(model)) for word in arguments]
    ran = efface(*arguments, "--out", "planned", "--dry-run")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(here.rglob("*")) == before
    lines = ran.stdout.splitlines()
    assert "Dry run: nothing was trained or written" in lines
    assert [fact for fact in facts if not any(line.strip().startswith(fact) for line in lines)] == []
