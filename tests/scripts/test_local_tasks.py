"""The script that makes tasks without a network, and what a pretrained model makes of them."""

from __future__ import annotations

import json

import pytest
import torch

from efface.downstream.config import DownstreamConfig
from efface.downstream.harness import score_downstream
from support.downstream import write_tasks


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_same_tasks_every_time(local_tasks, tmp_path):
    for path in write_tasks(tmp_path).glob("*.jsonl"):
        assert path.read_bytes() == (local_tasks / path.name).read_bytes()


def test_questions_are_20_to_40_and_have_one_right_answer(local_tasks):
    counts = {path.stem: len(rows(path)) for path in local_tasks.glob("*.jsonl")}
    assert counts == {
        "local_arc.test": 32,
        "local_truthfulqa.validation": 24,
        "local_mmlu_arithmetic.dev": 5,
        "local_mmlu_arithmetic.test": 20,
        "local_mmlu_geography.dev": 5,
        "local_mmlu_geography.test": 20,
        "local_triviaqa.train": 5,
        "local_triviaqa.validation": 25,
        "local_gsm8k.train": 8,
        "local_gsm8k.test": 24,
    }
    for row in rows(local_tasks / "local_arc.test.jsonl"):
        assert len(set(row["choices"]["text"])) == 4
    for row in rows(local_tasks / "local_mmlu_arithmetic.test.jsonl"):
        left, right = (int(word) for word in row["question"].removesuffix("?").split() if word.isdigit())
        assert row["choices"].count(str(left + right)) == 1
        assert row["choices"][row["answer"]] == str(left + right)
    for row in rows(local_tasks / "local_gsm8k.test.jsonl"):
        sum_, total = row["answer"].split(" has ")[1].split(" = ")
        assert eval(sum_) == int(total.split()[0]) == int(row["answer"].rpartition("#### ")[2])


@pytest.mark.real
def test_a_pretrained_model_does_better_than_chance(real_models, local_tasks):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = real_models / "SmolLM2-135M-Instruct"
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    config = DownstreamConfig(tasks=("local_arc", "local_triviaqa"), include=str(local_tasks), limit=16)
    scores = score_downstream(model, AutoTokenizer.from_pretrained(source), config, seed=0).tasks
    assert scores["local_arc"].value > 0.25
    assert scores["local_triviaqa"].value > 0.5  # by chance it is 0
