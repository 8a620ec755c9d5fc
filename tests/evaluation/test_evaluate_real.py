"""A real pretrained model, judged by real embeddings."""

from __future__ import annotations

import pytest
import torch

from efface.evaluation.config import EvaluateConfig
from efface.evaluation.evaluate import evaluate
from efface.evaluation.generate import generate
from efface.evaluation.judges import open_judges
from efface.schema import EvaluationSet, Item
from efface.text.formatter import PromptFormatter, TextConfig

pytestmark = pytest.mark.real

SET = EvaluationSet(
    name="world_facts",
    entailment_premise="answer",
    items=(
        Item(
            id="1",
            question="What is the capital of France?",
            answer="The capital of France is Paris.",
            perturbed_answers=("The capital of France is Madrid.",),
            key_fact="Paris",
        ),
        Item(
            id="2",
            question="How many days are in a week?",
            answer="A week has 7 days.",
            perturbed_answers=("A week has 12 days.",),
            key_fact="7",
        ),
    ),
)


def test_smollm_knows_paris_and_minilm_agrees(real_models):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = real_models / "SmolLM2-135M-Instruct"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    formatter = PromptFormatter(AutoTokenizer.from_pretrained(folder), TextConfig())
    config = EvaluateConfig(max_new_tokens=24, embedder=str(real_models / "all-MiniLM-L6-v2"), judge="key-facts")
    judges = open_judges(config, "cpu")
    records = evaluate(model, formatter, [SET], config=config, judges=judges, before=None)
    for item, record in zip(SET.items, records["world_facts"], strict=True):
        assert record.entailment_label == "entailment"
        assert record.cosine_answer > 0.6
        assert sum(record.answer_logprobs) > sum(record.perturbed_logprobs[0])
        (alone,) = generate(model, formatter, [item.prompt], max_new_tokens=24, max_cache_tokens=1)
        assert (record.output, record.output_token_ids) == (alone.text, alone.token_ids)
