"""What is asked for, and what a search shares: refusals, the methods, and which forget questions are reported."""

from __future__ import annotations

import json

import pytest

from efface.errors import EffaceError
from efface.progress.reporter import SilentReporter
from efface.tuning.setup import set_up, tuning_of
from support.messages import assert_names


@pytest.fixture
def asked(taught_towns):
    def ask(*pairs, **changes):
        given = {"keep": 0.5, "settings": taught_towns, **changes}
        return tuning_of(None, pairs, **given)

    return ask


def test_the_methods(asked, taught_towns, tmp_path):
    assert [*asked().bases] == ["me+gd", "idk+ap"]
    assert [*asked("method=npo+gd").bases] == ["npo+gd"]
    assert [*asked(settings={**taught_towns, "method": "GA+GD"}).bases] == ["ga+gd"]
    assert [*asked(methods=["ga+gd", "me+gd", "ga+gd"]).bases] == ["ga+gd", "me+gd"]
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({**taught_towns, "method": "dpo+gd"}))
    assert [*tuning_of(str(file), [], keep=0.5).bases] == ["dpo+gd"]
    preset = tuning_of("demo", ["model=m"], keep=0.5, methods=["me+gd", "idk+gd"])
    assert [base.forget_coeff for base in preset.bases.values()] == [0.1, 1.0], "each with the preset's own settings"


@pytest.mark.parametrize(
    ("pairs", "changes", "named"),
    [
        ([], {"keep": 0}, ("--keep", "0.95")),
        ([], {"keep": 1.01}, ("--keep", "1.01")),
        ([], {"keep": float("nan")}, ("--keep",)),
        ([], {"minutes": 1, "trials": 1}, ("--minutes", "--trials")),
        (["method=me+gd"], {"methods": ["idk+ap"]}, ("--methods", "method=me+gd")),
        (["keep=0.9"], {}, ("--keep", "keep=")),
        (["definition=tofu"], {}, ("definition=tofu", "closer-look")),
        ([], {"methods": ["nonsense"]}, ("nonsense",)),
        (["train.lrr=1"], {}, ("train.lrr",)),
    ],
)
def test_what_cannot_be_asked_for(asked, pairs, changes, named):
    with pytest.raises(EffaceError) as refused:
        asked(*pairs, **changes)
    assert_names(str(refused.value), *named)


def test_a_queue_is_refused(taught_towns):
    values = {**taught_towns, "data": {"retain": taught_towns["data"]["retain"]}}
    requests = {"requests": [taught_towns["data"]["forget"]]}
    with pytest.raises(EffaceError) as refused:
        tuning_of(None, [], keep=0.5, settings={**values, "continual": requests})
    assert_names(str(refused.value), "continual")


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
    assert ("never saw" if known else "ROUGE") in setup.forget_note


def test_each_trial_has_its_own_plan(asked, tmp_path):
    tuning = asked(methods=["me+gd"], trials=1)
    setup = set_up(tuning, tmp_path / "out", data_dir=None, resume=False, reporter=SilentReporter())
    base = tuning.base
    changed = base.model_copy(update={"method": "npo+gd", "train": base.train.model_copy(update={"epochs": 7})})
    plan = setup.plan(changed)
    assert plan.objective.name == "npo+gd"
    assert len(plan.steps) == plan.last_step == plan.schedule.steps == 7
    assert plan.config.epochs == 7
