"""`efface evaluate weights=random`: the scores of an untrained model."""

from __future__ import annotations

import math

import pytest
import torch

from efface.commands.evaluate import evaluate_model
from efface.config.commands import EvaluationConfig
from efface.config.parse import merge_settings, validate_config
from efface.evaluation.record_files import read_record_sets
from efface.models.load import load_model
from efface.run.folder import RunFolder

CPU = torch.device("cpu")


def test_scores_are_those_of_a_model_that_knows_nothing(settings, source, tmp_path):
    shared = {key: value for key, value in settings.items() if key in EvaluationConfig.model_fields}
    changes = {"weights": "random", "seed": 5, "evaluate": {"limit": 8, "max_new_tokens": 8}}
    config = validate_config(EvaluationConfig, merge_settings(shared, changes))
    scores = evaluate_model(config, tmp_path / "random")
    vocabulary = load_model(source, dtype=torch.float32, device=CPU).config.vocab_size
    records = read_record_sets(tmp_path / "random" / "records")["forget"]
    logprobs = [each for record in records for each in record.answer_logprobs]
    assert -sum(logprobs) / len(logprobs) == pytest.approx(math.log(vocabulary), rel=0.05)
    assert scores.sets["forget"].probability == pytest.approx(1 / vocabulary, rel=0.5)
    assert scores.sets["forget"].truth_ratio < 0.2  # right and wrong answers are as likely
    assert scores.sets["forget"].entailment == 0
    made = RunFolder(tmp_path / "random").read_manifest()
    assert (made.seed, made.notes) == (5, ["untrained weights of seed 5 in place of the model's own"])
    again = evaluate_model(config, tmp_path / "again")
    assert (again, read_record_sets(tmp_path / "again" / "records")["forget"]) == (scores, records)
    stored = evaluate_model(config.model_copy(update={"weights": "stored"}), tmp_path / "stored")
    assert stored.sets["forget"].probability != pytest.approx(scores.sets["forget"].probability, rel=1e-3)
    assert RunFolder(tmp_path / "stored").read_manifest().notes == []
