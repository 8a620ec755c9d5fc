"""What the trials of a search share, and which forget questions are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from efface.config.size_defaults import TABLE
from efface.errors import EffaceError
from efface.hub import UnavailableError
from efface.progress.reporter import SilentReporter
from efface.tuning.request import tuning_of
from efface.tuning.setup import set_up
from efface.tuning.space import apply, starts
from support.messages import assert_names
from support.runs import Told


@pytest.fixture
def asked(taught_towns):
    def ask(*pairs, **changes):
        given = {"keep": 0.5, "settings": taught_towns, **changes}
        return tuning_of(None, pairs, **given)

    return ask


def paraphrased(taught_towns, tmp_path, question):
    """The forget set with paraphrased questions."""
    rows = [json.loads(line) for line in open(taught_towns["data"]["forget"])]  # noqa: PTH123, SIM115
    rows = [{**row, "paraphrased_question": question(row["question"])} for row in rows]
    (tmp_path / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {**taught_towns, "data": {**taught_towns["data"], "forget": str(tmp_path / "forget.jsonl")}}


@pytest.mark.parametrize("known", [True, False])
def test_paraphrased_questions_are_reported_if_the_model_understands_them(
    taught_towns, tmp_path, asked, monkeypatch, known
):
    settings = paraphrased(taught_towns, tmp_path, lambda question: f"Say: {question}")
    understood = 0.6 if known else 0.4
    monkeypatch.setattr(
        "efface.tuning.setup.said", lambda rows: understood if rows[0].question.startswith("Say") else 1.0
    )
    tuning = asked(settings=settings, methods=["me+gd"])
    setup = set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=SilentReporter())
    (forget,) = (each for each in setup.held_out.reported if each.name == "forget")
    assert setup.held_out.paraphrased == known
    assert [item.question for item in forget.items] == [record.question for record in setup.reported_before["forget"]]
    assert ("never saw" if known else "cannot show") in setup.forget_note


@pytest.mark.parametrize("searched", ["train.lr", "forget_coeff"])
def test_a_default_rate_is_named_only_where_no_rate_is_searched(taught_towns, tmp_path, monkeypatch, searched):
    train = {name: value for name, value in taught_towns["train"].items() if name != "lr"}
    space = None if searched == "train.lr" else {"forget_coeff": [0.1, 0.2]}
    tuning = tuning_of(None, (), keep=0.5, settings={**taught_towns, "train": train}, methods=["me+gd"], space=space)
    reporter, told = SilentReporter(), []
    monkeypatch.setattr(reporter, "on_warning", told.append)
    monkeypatch.setattr(reporter, "on_stage", told.append)
    set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=reporter)
    assert any("train.lr=" in each for each in told) == (searched == "forget_coeff")


@pytest.mark.parametrize("space", [None, {"beta": [0.1, 0.2]}])
def test_what_is_left_open_starts_from_the_size_of_the_model(taught_towns, tmp_path, monkeypatch, space):
    row = TABLE[0]
    monkeypatch.setattr("efface.run.preparation.size_settings.default_for", lambda *_: row)
    settings = {**taught_towns, "train": {"warmup_steps": 0}}
    tuning = tuning_of(None, (), keep=0.5, settings=settings, methods=["me+gd", "npo+gd"], space=space)
    told = Told()
    setup = set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=told)
    for base in setup.tuning.bases.values():
        train = base.train
        assert (train.lr, base.forget_coeff, train.epochs) == (row.lr, row.forget_coeff, row.epochs)
    named = [each for each in told.stages if f"train.lr={row.lr:g}" in each]
    if space is None:
        first = starts(setup.tuning.bases, setup.space, setup.prepared.manifest.parameters)[0]
        assert (first["train.lr"], first["forget_coeff"]) == (row.lr, row.forget_coeff)
        assert first["train.epochs"] == row.epochs == setup.space["train.epochs"].high
        assert not named, "it is searched"
    else:
        assert len(named) == 2, "one for each method"
        assert setup.defaults["me+gd"]["train.lr"] == row.source


def test_what_is_taken_from_the_size_and_not_searched_is_named(taught_towns, tmp_path, monkeypatch):
    row = next(each for each in TABLE if each.me_positions is not None)
    monkeypatch.setattr("efface.run.preparation.size_settings.default_for", lambda *_: row)
    settings = {**taught_towns, "train": {"warmup_steps": 0}}
    tuning = tuning_of(None, (), keep=0.5, settings=settings, methods=["me+gd", "npo+gd"])
    told = Told()
    setup = set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=told)
    assert setup.defaults["me+gd"]["me.positions"] == row.source
    assert "train.lr" not in setup.defaults["me+gd"], "it is searched"
    assert apply(setup.tuning.bases, {"method": "me+gd"}).me.positions == row.me_positions
    assert any("me.positions=answer for me+gd" in each for each in told.stages)


def test_each_trial_has_its_own_plan(asked, tmp_path):
    tuning = asked(methods=["me+gd"], trials=1)
    setup = set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=SilentReporter())
    base = tuning.base
    changed = base.model_copy(update={"method": "npo+gd", "train": base.train.model_copy(update={"epochs": 7})})
    plan = setup.plan(changed)
    assert plan.objective.name == "npo+gd"
    assert len(plan.steps) == plan.last_step == plan.schedule.steps == 7
    assert plan.config.epochs == 7


def test_key_facts_judge_where_the_default_judge_cannot_be_had(taught_towns, tmp_path, asked, monkeypatch):
    def unreachable(name):
        raise UnavailableError(f"{name}: the hub cannot be reached")

    rows = [json.loads(line) for line in Path(taught_towns["data"]["forget"]).read_text().splitlines()]
    facts = [{**row, "key_fact": row["answer"].split()[-1]} for row in rows]
    (tmp_path / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in facts))
    monkeypatch.setattr("efface.evaluation.judging.judges.resolve_model", unreachable)
    settings = {
        **taught_towns,
        "data": {**taught_towns["data"], "forget": str(tmp_path / "forget.jsonl")},
        "evaluate": {**taught_towns["evaluate"], "judge": "default"},
    }
    reporter, warnings = SilentReporter(), []
    monkeypatch.setattr(reporter, "on_warning", warnings.append)
    setup = set_up(
        asked(settings=settings, methods=["me+gd"]), tmp_path / "out", data_dir=None, resume=False, reporter=reporter
    )
    assert {record.judge for record in setup.reported_before["forget"]} == {"key-facts"}
    assert any(each.startswith("the judge is key-facts") for each in warnings)


@pytest.mark.parametrize("named", [False, True])
def test_methods_that_the_data_does_not_fit(taught_towns, tmp_path, monkeypatch, named):
    """Documents have no answers that IDK could replace."""
    texts = {}
    for name in ("forget", "retain"):
        texts[name] = str(tmp_path / f"{name}.txt")
        Path(texts[name]).write_text(" ".join(f"{name}{number} reads." for number in range(30)))
    settings = {**taught_towns, "data": {**taught_towns["data"], **texts, "passage_length": 40}}
    reporter, told = SilentReporter(), []
    monkeypatch.setattr(reporter, "on_stage", told.append)
    tuning = tuning_of(None, (), keep=0.5, settings=settings, methods=["me+gd", "idk+ap"] if named else [])
    if named:
        with pytest.raises(EffaceError) as error:
            set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=reporter)
        assert_names(str(error.value), "idk+ap", "running text", "forget/0001")
        return
    setup = set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=reporter)
    assert [*setup.tuning.bases] == ["me+gd"]
    assert "idk+ap" not in str(setup.space)
    assert any("idk+ap is not tried" in each for each in told)
