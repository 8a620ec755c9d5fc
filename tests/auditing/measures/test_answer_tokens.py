from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.auditing.measures.answer_tokens import answer_tokens, token_numbers
from efface.packing.logprobs import answer_numbers
from efface.schema import Prompt
from efface.scores.metrics.membership import (
    loss_score,
    min_k_plus_plus_score,
    min_k_score,
    zlib_score,
)
from efface.text.sequence import TokenizedSequence
from support.audit_models import GOLDEN, knowing, load, subject

VIEWS = {"forget": ("forget", "forget_idk", "forget_mismatch"), "holdout": ("retain", "retain_idk")}


def test_numbers_of_a_token_by_their_definitions() -> None:
    logits = torch.tensor([[0.0, math.log(3), -math.inf], [1.0, 1.0, 1.0]], dtype=torch.float64)
    first, second = token_numbers(logits, torch.tensor([0, 2])).tolist()
    mean = 0.25 * math.log(0.25) + 0.75 * math.log(0.75)
    variance = 0.25 * (math.log(0.25) - mean) ** 2 + 0.75 * (math.log(0.75) - mean) ** 2
    assert first == pytest.approx([math.log(0.25), 0, mean, variance])
    assert [second[0], second[2]] == pytest.approx([math.log(1 / 3)] * 2)
    assert second[3] == pytest.approx(0)


def test_the_end_of_an_answer_is_left_out_but_not_of_a_passage() -> None:
    attacked = subject(knowing())
    prompt, answer = Prompt("Where is tower A?"), "Tower A is in Turku."
    passage = Prompt("Where is", passage=True)
    read, in_passage = answer_tokens(attacked, [(prompt, answer), (passage, " tower A?")])
    logprobs = attacked.logprobs([(prompt, answer), (passage, " tower A?")])
    assert read.logprobs == pytest.approx(logprobs[0][:-1], abs=1e-5)
    assert in_passage.logprobs == pytest.approx(logprobs[1], abs=1e-5)
    assert all(read.predicted)
    assert len(read.means) == len(read.variances) == len(read.logprobs)


@pytest.fixture(scope="module")
def numbers(shared: Path) -> Any:
    """For each set of open-unlearning's numbers: its texts, and per sequence [log-probability, _, mean, variance]."""
    stored = json.loads((shared / "golden/open_unlearning/losses_and_metrics.json").read_text())["metrics"]
    views = json.loads((GOLDEN / "objectives.json").read_text())["views"]
    model, reference = load(dtype=torch.float64), load("reference", dtype=torch.float64)
    made = {}
    for name, parts in VIEWS.items():
        sequences = [TokenizedSequence("", row["prompt"], row["answer"]) for part in parts for row in views[part]]
        both = [
            answer_numbers(each, sequences, token_numbers, max_tokens_per_forward=200) for each in (model, reference)
        ]
        made[name] = (stored["texts"][name], *both)
    return stored["membership"], made


@pytest.mark.parametrize("part", VIEWS)
def test_membership_scores_are_open_unlearnings(numbers: Any, part: str) -> None:
    golden, made = numbers
    texts, tokens, reference_tokens = made[part]
    logprobs = [[each[0] for each in sequence] for sequence in tokens]
    reference = [[each[0] for each in sequence] for sequence in reference_tokens]
    assert [loss_score(each) for each in logprobs] == pytest.approx(golden["loss"][part], abs=1e-6)
    zipped = [zlib_score(each, text) for each, text in zip(logprobs, texts, strict=True)]
    assert zipped == pytest.approx(golden["zlib"][part], abs=1e-6)
    differences = [loss_score(one) - loss_score(other) for one, other in zip(logprobs, reference, strict=True)]
    assert differences == pytest.approx(golden["reference"][part], abs=1e-6)
    # min-k and min-k++ of open-unlearning leave the last label out, and compute in float32
    assert [min_k_score(each[:-1]) for each in logprobs] == pytest.approx(golden["min_k"][part], abs=1e-6)
    columns = [[list(column) for column in zip(*sequence[:-1], strict=True)] for sequence in tokens]
    standardized = [min_k_plus_plus_score(each[0], each[2], each[3]) for each in columns]
    assert standardized == pytest.approx(golden["min_k_plus_plus"][part], abs=1e-6)
