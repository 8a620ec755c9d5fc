"""Unlearning on a real pretrained model: it knows something, and after a few steps it says it less."""

from __future__ import annotations

import json
import math

import pytest

from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.evaluation.record_files import read_record_sets
from efface.run.pipeline import run
from support.downstream import cache_in, write_tasks

pytestmark = pytest.mark.real

FORGET = {"What is the capital of France?": "The capital of France is Paris."}
# Of another form than what is forgotten: in a few steps, training on more capitals would teach this one, too.
RETAIN = {
    "How many days are there in a week?": "Seven days make a week.",
    "Who wrote Romeo and Juliet?": "William Shakespeare wrote Romeo and Juliet.",
}


def likelihood(records) -> float:
    return sum(math.exp(sum(r.answer_logprobs) / len(r.answer_logprobs)) for r in records) / len(records)


@pytest.fixture
def local_tasks(tmp_path):
    with cache_in(tmp_path / "data-sets"):
        yield write_tasks(tmp_path / "tasks")


def test_smollm_forgets_a_capital(real_models, local_tasks, tmp_path):
    for name, facts in (("forget", FORGET), ("retain", RETAIN)):
        rows = ({"question": question, "answer": answer} for question, answer in facts.items())
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.yaml").write_text(
        f"""
method: me+gd
model: {real_models / "SmolLM2-135M-Instruct"}
data: {{forget: {tmp_path / "forget.jsonl"}, retain: {tmp_path / "retain.jsonl"}}}
train: {{lr: 1.0e-4, epochs: 8, batch_size: 1}}
evaluate: {{embedder: {real_models / "all-MiniLM-L6-v2"}, judge: none, max_new_tokens: 16}}
downstream: {{tasks: [local_arc, local_triviaqa], include: {local_tasks}, limit: 16}}
device: cpu
"""
    )
    results = run(resolve_config(RunConfig, str(tmp_path / "mine.yaml"), []), tmp_path / "out")
    before, after = (read_record_sets(tmp_path / "out" / "records" / stage) for stage in ("before", "after"))
    assert "Paris" in before["forget"][0].output
    assert likelihood(after["forget"]) < likelihood(before["forget"])
    assert results.after.sets["retain"].cosine_similarity > 0.5
    assert results.after.missing["entailment"]
    assert results.downstream.before.tasks["local_triviaqa"].value > 0.5
    assert results.downstream.after.tasks["local_arc"].value > 0.25
    assert json.loads((tmp_path / "out" / "model" / "config.json").read_text())["dtype"] == "bfloat16"
