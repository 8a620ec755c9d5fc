"""The comparison with `generate`: all give the same answers to the same questions."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import decoding

MODEL = Path(__file__).parents[1] / "golden" / "model"


def test_all_give_the_same_answers(capsys):
    before = torch.get_num_threads()
    try:
        assert (
            decoding.main(
                [str(MODEL), "--format", "plain", "--questions", "5", "--new-tokens", "4", "--batch", "2", "5"]
            )
            == 0
        )
    finally:
        torch.set_num_threads(before)
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["answer_tokens"]["longest"] == 4
    assert {name: each["changed"] for name, each in report["contenders"].items()} == {
        "generate, 2 at once": 0,
        "generate, 5 at once": 0,
        "evaluate.engine=efface": 0,
        "evaluate.engine=transformers": 0,
    }
