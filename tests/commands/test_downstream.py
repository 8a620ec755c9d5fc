"""A saved model on downstream tasks: the same scores as in memory, and a folder that says what made them."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
import yaml

from efface.artifacts import Manifest
from efface.commands import downstream
from efface.commands.downstream import downstream_model
from efface.config.commands import DownstreamRunConfig
from efface.config.parse import merge_settings, read_yaml, validate_config
from efface.downstream.harness import score_downstream
from efface.errors import EffaceError
from efface.run.folder import RunFolder
from support.downstream import cache_in, write_tasks
from support.runs import Told


@pytest.fixture(scope="module")
def local_tasks(tmp_path_factory):
    with cache_in(tmp_path_factory.mktemp("data-sets")):
        yield write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def config(source, local_tasks):
    own = {
        "model": str(source),
        "seed": 3,
        "device": "cpu",
        "downstream": {"tasks": ["local_arc", "local_gsm8k"], "include": str(local_tasks), "limit": 6},
    }
    return lambda **changes: validate_config(DownstreamRunConfig, merge_settings(own, changes))


def test_a_saved_model_scores_as_it_does_in_memory(config, source, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    scores = downstream_model(config(), tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).train()
    settings = config().downstream
    assert score_downstream(model, AutoTokenizer.from_pretrained(source), settings, seed=3) == scores


def test_its_folder_says_what_made_the_scores(config, local_tasks, tmp_path):
    told, out = Told(), tmp_path / "out"
    scores = downstream_model(config(), out, told)
    assert sorted(path.name for path in out.iterdir()) == ["config.yaml", "downstream.json", "manifest.json"]
    assert json.loads((out / "downstream.json").read_text()) == scores.to_json()
    made = Manifest.model_validate_json((out / "manifest.json").read_bytes())
    file = (local_tasks / "local_arc.yaml").read_bytes()
    assert made.tasks["local_arc.yaml"] == hashlib.sha256(file).hexdigest()
    assert (made.seed, made.precision, made.model) == (3, "evaluation float32", config().model)
    again = validate_config(DownstreamRunConfig, read_yaml(out / "config.yaml"))
    assert again == config()
    assert downstream_model(again, tmp_path / "again") == scores
    assert told.stages == [f"scoring downstream tasks of {config().model}"]
    assert [warning.split(":")[0] for warning in told.warnings] == ["task local_gsm8k"]  # 512 tokens are few


def test_a_model_without_a_chat_template_will_do(config, tmp_path):
    downstream_model(config(downstream={"tasks": ["local_arc"]}), tmp_path / "out")
    assert yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["text"].keys() == {"system", "date"}
    assert RunFolder(tmp_path / "out").read_manifest().text == {}  # no template was used


def test_what_is_wrong_is_refused_before_the_model_is_loaded(config, tmp_path, monkeypatch):
    monkeypatch.setattr(downstream, "load_model", lambda *_, **__: pytest.fail("loaded"))
    (tmp_path / "mine.txt").touch()
    with pytest.raises(EffaceError, match="is not empty and contains no run"):
        downstream_model(config(), tmp_path)
    with pytest.raises(EffaceError, match="task local_arc has no metric 'f1'"):
        downstream_model(config(downstream={"metrics": {"local_arc": "f1"}}), tmp_path / "out")
    with pytest.raises(EffaceError, match="model: there is no folder"):
        downstream_model(config(model="./no-model"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_where_scoring_fails(config, tmp_path, monkeypatch):
    monkeypatch.setattr("lm_eval.evaluator.evaluate", lambda **_: 1 / 0)
    with pytest.raises(EffaceError, match="cannot be scored"):
        downstream_model(config(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
