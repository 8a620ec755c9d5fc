"""What is read and resolved for a run, without writing anything."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.models import open
from efface.models.folder import model_sha256
from efface.run import model_answers
from efface.run.folder import RunFolder
from efface.run.preparation.prepare import check_settings, prepare
from support.runs import Told


@pytest.fixture
def prepared(settings, tmp_path):
    """Prepare a run with some settings changed: what was prepared, the opened model, and the reporter."""

    def make(*, resume=False, placeholder_answers=False, **changes):
        reporter = Told()
        run, opened = prepare(
            validate_config(RunConfig, merge_settings(settings, changes)),
            RunFolder(tmp_path / "run"),
            data_dir=None,
            reporter=reporter,
            resume=resume,
            placeholder_answers=placeholder_answers,
        )
        assert not (tmp_path / "run").exists()
        return run, opened, reporter

    return make


def test_what_the_stages_need(prepared, source):
    run, opened, _ = prepared()
    assert (opened.source, opened.sha256) == (source, model_sha256(source))
    assert (len(run.task.forget), run.device, run.model_answers) == (20, torch.device("cpu"), None)
    plan = run.plan
    assert (plan.model, plan.source, plan.seed, plan.objective.name) == (str(source), source, 0, "me+gd")
    assert (len(plan.steps), plan.schedule.steps, plan.config.optimizer) == (8, 8, "adamw")
    assert (plan.reference.folder, plan.reference.sha256) == (source, opened.sha256)
    assert plan.reference.notes == ()
    assert run.manifest.model_sha256 == opened.sha256
    assert run.manifest.optimizer == "adamw"


def test_jensun_repeats_one_target(prepared):
    def targets(**changes):
        run, _, _ = prepared(method="jensun+ap", **changes)
        return {tuple(example["forget_idk"].answer) for step in run.plan.steps for example in step}

    assert len(targets()) == 1
    assert len(targets(jensun={"target": "refusal"})) > 1
    assert targets(jensun={"target": "#"}) != targets()


def test_nothing_of_it_can_be_replaced(prepared):
    run, opened, _ = prepared()
    for value in (run, run.plan, opened):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)


def test_only_the_opened_model_holds_the_weights(prepared):
    """What the stages get must not keep it in memory."""
    run, opened, _ = prepared()
    held = [value for each in (run, run.plan) for value in vars(each).values()]
    assert all(value is not opened.model for value in held)
    assert all(value is not opened for value in held)


def test_placeholders_replace_answers_that_the_model_would_generate(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(model_answers, "generate", None)
    (tmp_path / "forget.jsonl").write_text('{"question": "Who?", "answer": "Ann."}\n')
    data = {
        "forget": str(tmp_path / "forget.jsonl"),
        "retain": "model-answers",
        "generic_questions": 8,
        "known_facts": 0,
    }
    run, _, _ = prepared(data=data, train={"batch_size": 1}, placeholder_answers=True)
    assert set(run.model_answers.values()) == {"the the the"}
    assert len(run.task.retain) == 6


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"method": "me"}, ["method me only forgets", "data.retain=model-answers"]),
        ({"reference": "SOURCE"}, ["method me+gd has no reference model", "reference="]),
        (
            {"train": {"batch_size": 40, "epochs": 3}},
            ["20 items in batches of 40", "lower train.batch_size"],
        ),
    ],
)
def test_warnings_about_method_and_batches(prepared, source, changes, parts):
    changes = {key: str(source) if value == "SOURCE" else value for key, value in changes.items()}
    _, _, reporter = prepared(**changes)
    assert any(all(part in warning for part in parts) for warning in reporter.warnings)


def test_several_requests_are_refused(prepared):
    with pytest.raises(EffaceError, match=r"continual lists several requests, .*; use efface run"):
        prepared(continual={"requests": [1, 2]})


def test_a_schedule_without_a_full_rate_is_refused_before_training(prepared):
    with pytest.raises(EffaceError, match=r"train\.warmup_steps=8 of 8 steps"):
        prepared(train={"warmup_steps": 8})


def test_downstream_tasks_are_scored_in_one_process(monkeypatch, tmp_path):
    config = RunConfig(data="synthetic-authors", method="ga", model="any/model", downstream=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("efface.distributed.init_process_group", lambda _: None)
    with pytest.raises(EffaceError, match="downstream tasks are scored in one process; leave downstream out"):
        check_settings(config, RunFolder(tmp_path / "run"), resume=False)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (EffaceError("cannot be packed"), "cannot be packed"),
        (torch.OutOfMemoryError(), "memory.*; use device=cpu or a smaller model"),
    ],
)
def test_a_model_that_cannot_run_is_refused(prepared, monkeypatch, problem, message):
    def refuse(_):
        raise problem

    monkeypatch.setattr(open, "packing_unsupported_reason", refuse)
    with pytest.raises(EffaceError, match=message):
        prepared()


@pytest.mark.parametrize("given", [True, False])
def test_the_manifest_says_where_a_rate_that_was_not_given_comes_from(settings, tmp_path, given):
    train = {name: value for name, value in settings["train"].items() if given or name != "lr"}
    config = validate_config(RunConfig, {**settings, "train": train})
    prepared, _ = prepare(config, RunFolder(tmp_path), data_dir=None, reporter=Told(), resume=False)
    assert ("train.lr" in prepared.manifest.defaults) is not given
