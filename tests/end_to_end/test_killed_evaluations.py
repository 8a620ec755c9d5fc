"""A kill late in an evaluation: at most one batch is computed again, and the records are those of no kill at all."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from efface.commands.evaluate import evaluate_model
from efface.config.commands import EvaluationConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual.queue import run_queue
from efface.errors import EffaceError
from efface.evaluation.decoding import greedy_decoder
from efface.evaluation.journal import Journal
from efface.evaluation.record_files import read_record_sets
from efface.packing import logprobs
from efface.run.folder import RunFolder
from efface.run.pipeline import run

pytestmark = pytest.mark.slow  # quick: journals in tests/evaluation/test_journal.py

SMALL_BATCHES = {"evaluate": {"max_cache_tokens": 40, "max_tokens_per_forward": 100, "limit": 6}}


class Killed(BaseException):
    """As a kill would end the process."""


@pytest.fixture
def calls(monkeypatch):
    """Every batch of likelihoods and outputs as it is computed; `calls.kill_at` ends the process in one of them."""

    class Calls(list):
        kill_at = None

    made = Calls()

    def watched(kind, process):
        def wrapped(*arguments, **options):
            made.append(kind)
            if len(made) == made.kill_at:
                raise Killed
            return process(*arguments, **options)

        return wrapped

    monkeypatch.setattr(logprobs, "hidden_states", watched("likelihoods", logprobs.hidden_states))
    monkeypatch.setattr(greedy_decoder, "greedy_decode", watched("outputs", greedy_decoder.greedy_decode))
    return made


@pytest.mark.parametrize("command", [pytest.param("run", marks=pytest.mark.slow), "evaluate"])
def test_at_most_one_batch_is_computed_again(settings, tmp_path, calls, command):
    values = merge_settings(settings, SMALL_BATCHES)
    if command == "run":
        config, start = validate_config(RunConfig, values), run
    else:
        kept = {key: value for key, value in values.items() if key in EvaluationConfig.model_fields}
        config, start = validate_config(EvaluationConfig, kept), evaluate_model
    whole, out = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "out")
    start(config, whole.root)
    total = len(calls)
    assert calls.count("outputs") > 2
    del calls[:]
    calls.kill_at = total - 1
    with pytest.raises(Killed):
        start(config, out.root)
    assert list((out.root / "evaluating").rglob("*.jsonl"))
    del calls[:]
    calls.kill_at = None
    start(config, out.root, resume=True)
    assert len(calls) == 2, "the batch of the kill, and the one after it"
    stage = "after" if command == "run" else "."
    assert read_record_sets(out.records(stage)) == read_record_sets(whole.records(stage))
    assert not (out.root / "evaluating").exists()
    assert json.loads(out.manifest.read_text())["writing"] == {}


@pytest.mark.parametrize("command", ["run", "evaluate", "queue"])
def test_nothing_of_an_evaluation_is_left_over_when_its_records_were_complete(settings, tmp_path, command, monkeypatch):
    def killed(_):
        raise Killed

    if command == "evaluate":
        kept = {key: value for key, value in settings.items() if key in EvaluationConfig.model_fields}
        config, start = validate_config(EvaluationConfig, kept), evaluate_model
    else:
        queue = {"method": "me+gd", "continual": {"requests": [1]}} if command == "queue" else {}
        config, start = validate_config(RunConfig, merge_settings(settings, queue)), run_queue if queue else run
    monkeypatch.setattr(Journal, "remove", killed)
    for stage in range(3):
        with suppress(Killed):
            start(config, tmp_path / "out", resume=stage > 0)
    monkeypatch.undo()
    start(config, tmp_path / "out", resume=True)
    assert not [*(tmp_path / "out").rglob("evaluating")]


def test_a_stopped_evaluation_is_not_mixed_with_one_of_other_settings(settings, tmp_path, calls):
    kept = {key: value for key, value in settings.items() if key in EvaluationConfig.model_fields}
    config = validate_config(EvaluationConfig, kept)
    calls.kill_at = 2
    with pytest.raises(Killed):
        evaluate_model(config, tmp_path / "out")
    calls.kill_at = None
    with pytest.raises(EffaceError, match="already contains a run; continue it with --resume"):
        evaluate_model(config, tmp_path / "out")
    with pytest.raises(EffaceError, match="has other settings"):
        evaluate_model(config.model_copy(update={"seed": 9}), tmp_path / "out", resume=True)
    scores = evaluate_model(config, tmp_path / "out", resume=True)
    del calls[:]
    assert evaluate_model(config, tmp_path / "out", resume=True) == scores
    assert calls == []


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_an_evaluation_that_is_refused_leaves_nothing(settings, tmp_path, monkeypatch, command):
    def refused(*_, **__):
        raise EffaceError("the model gives a log-probability that is not a number")

    monkeypatch.setattr(logprobs, "pack", refused)
    kept = {key: value for key, value in settings.items() if command == "run" or key in EvaluationConfig.model_fields}
    kind, start = (RunConfig, run) if command == "run" else (EvaluationConfig, evaluate_model)
    with pytest.raises(EffaceError, match="not a number"):
        start(validate_config(kind, kept), tmp_path / "out")
    assert not (tmp_path / "out").exists()
