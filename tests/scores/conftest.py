"""Small records and logs, valid unless a test says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.records import Record

LN2 = 0.6931471805599453


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """A record whose six metrics are all there; keyword arguments replace fields."""

    def make(**fields: Any) -> Record:
        record: dict[str, Any] = {
            "set": "retain",
            "id": "q0",
            "question": "Where was she born?",
            "answer": "She was born in Oslo.",
            "output": "She was born in Bergen.",
            "output_token_ids": [1, 2, 3, 3],
            "retokenized_output_ids": [1, 2, 3, 3],
            "answer_logprobs": [-LN2, -LN2],
            "paraphrased_logprobs": [-2 * LN2],
            "perturbed_logprobs": [[-2 * LN2], [-4 * LN2]],
            "embedding_target": "She was born in Oslo.",
            "embedder": "MiniLM",
            "cosine_answer": 0.5,
            "cosine_before": 0.25,
            "entailment_target": "She was born in Oslo.",
            "entailment_premise": "answer",
            "judge": "nli",
            "entailment_label": "entailment",
        }
        return Record.model_validate(record | fields)

    return make


@pytest.fixture(scope="session")
def make_block() -> Callable[..., dict[str, Any]]:
    """One set of a TOFU eval log with two questions, keyed by index; keyword arguments replace columns."""

    def make(**columns: Any) -> dict[str, Any]:
        return {
            "avg_gt_loss": {"0": LN2, "1": LN2},
            "avg_paraphrased_loss": {"0": LN2, "1": LN2},
            "average_perturb_loss": {"0": [2 * LN2, 4 * LN2], "1": [LN2, LN2]},
            "generated_text": {
                "0": ["[INST] q [/INST]", "She was born in Bergen.", "She was born in Oslo."],
                "1": ["[INST] q [/INST]", "no", "yes"],
            },
            "rougeL_recall": {"0": 0.8, "1": 0.0},
        } | columns

    return make


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[[Any], Path]:
    """Write a value as the JSON file log.json and return its path."""

    def write(log: Any) -> Path:
        path = tmp_path / "log.json"
        path.write_text(json.dumps(log), encoding="utf-8")
        return path

    return write
