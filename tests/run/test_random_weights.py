"""`weights: random`: an untrained model of the same kind, to compare others with."""

from __future__ import annotations

import math

import pytest
import torch

from efface.commands.evaluate import evaluate_model
from efface.config.commands import EvaluationConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.models.load import load_model, random_model
from efface.run.folder import RunFolder

pytestmark = pytest.mark.usefixtures("quick_collection")
CPU = torch.device("cpu")


def weights(model):
    return {name: each.detach() for name, each in model.named_parameters()}


def drawn(folder, seed, dtype=torch.float32):
    return random_model(folder, dtype=dtype, device=CPU, seed=seed)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_seed_the_same_weights_and_none_of_the_models_own(source):
    stored = weights(load_model(source, dtype=torch.float32, device=CPU))
    state = torch.get_rng_state()
    first, again, other = (weights(drawn(source, seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: each.shape for name, each in first.items()} == {name: each.shape for name, each in stored.items()}
    assert same(first, again)
    matrices = [name for name, each in first.items() if each.ndim > 1]
    assert matrices
    for name in matrices:
        assert not torch.equal(first[name], stored[name])
        assert not torch.equal(first[name], other[name])


def test_it_is_ready_to_be_asked_in_the_dtype_asked_for(source):
    model = drawn(source, 0, torch.bfloat16)
    assert not model.training
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
    rounded = {name: each.bfloat16() for name, each in weights(drawn(source, 0)).items()}
    assert same(weights(model), rounded)  # drawn in float32, whatever the dtype


def test_what_no_model_can_be_made_of_is_refused(source, monkeypatch):
    from transformers import AutoModelForCausalLM

    def refusing(*_, **__):
        raise ValueError("no such activation\nat all")

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", refusing)
    with pytest.raises(EffaceError, match=r"weights=random: .* cannot be made anew: no such activation$"):
        drawn(source, 0)


def test_its_scores_are_those_of_a_model_that_knows_nothing(settings, source, tmp_path):
    own = {key: value for key, value in settings.items() if key in EvaluationConfig.model_fields}
    changes = {"weights": "random", "seed": 5, "evaluate": {"limit": 8, "max_new_tokens": 8}}
    config = validate_config(EvaluationConfig, merge_settings(own, changes))
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
