"""`evaluate.every: epoch`: each epoch's scores are those of its model, and the best one's model is left."""

from __future__ import annotations

import copy
import json

import pytest

from efface.commands.evaluate import evaluate_model
from efface.config.commands import EvaluationConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.models.save import save_model
from efface.models.tokenizer import load_tokenizer
from efface.run import evaluation_stages, unlearning_stage
from efface.run.pipeline import run, unlearn
from efface.run.selection import epoch_scores
from efface.run.selection.epoch_scores import check_epoch_selection
from efface.run.selection.epoch_snapshots import EpochSnapshots
from efface.schema import EvaluationSet, Item, Task

EVERY = {"every": "epoch", "limit": 2, "max_new_tokens": 3}


@pytest.fixture(scope="module")
def values(settings):
    """3 epochs of 4 steps each, scored after each."""
    return merge_settings(settings, {"train": {"epochs": 3}, "evaluate": EVERY})


@pytest.fixture
def config(values):
    return lambda **changes: validate_config(RunConfig, merge_settings(values, changes))


@pytest.fixture(scope="module")
def complete(values, tmp_path_factory):
    """A run that leaves its last epoch's model, with a copy of the model in memory after each step."""
    out, copies = tmp_path_factory.mktemp("complete") / "run", {}
    take = EpochSnapshots.take

    def watched(self, placement, step):
        copies[step] = copy.deepcopy(placement.model)
        take(self, placement, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochSnapshots, "take", watched)
        results = run(validate_config(RunConfig, values), out)
    return out, results, copies


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".md"}


def outcome(folder):
    made = {name: files(folder / name) for name in ("model", "adapter") if (folder / name).is_dir()}
    records = {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("records/**/*.jsonl")}
    return {**made, "records": records, "results": json.loads((folder / "results.json").read_text())}


def test_it_is_the_run_without_it_and_its_trajectory_beside(complete, config, tmp_path):
    out, results, _ = complete
    plain = run(config(evaluate={"every": None}), tmp_path / "plain")
    assert results.model_copy(update={"trajectory": None}) == plain
    assert plain.trajectory is None
    assert "trajectory" not in json.loads((tmp_path / "plain" / "results.json").read_text())
    mine, other = outcome(out), outcome(tmp_path / "plain")
    assert mine["model"] == other["model"]
    assert {name: mine["records"][name] for name in other["records"]} == other["records"]
    assert sorted(mine["records"].keys() - other["records"].keys()) == [
        f"records/epochs/00{epoch}/{name}.jsonl" for epoch in (1, 2, 3) for name in ("forget", "retain")
    ]
    assert results.to_json() == mine["results"]


def test_each_epochs_scores_are_those_of_its_model(complete, values, source, tmp_path):
    out, results, copies = complete
    found = results.trajectory
    assert [(each.epoch, each.step) for each in found.epochs] == [(1, 4), (2, 8), (3, 12)]
    assert found.kept == 3
    assert found.epochs[-1].scores == results.after
    model = tmp_path / "by-hand"
    save_model(copies[4], load_tokenizer(source), model, source=source, name="by-hand")
    own = {key: value for key, value in values.items() if key in EvaluationConfig.model_fields}
    evaluate = {key: value for key, value in values["evaluate"].items() if key != "every"}
    alone = validate_config(EvaluationConfig, {**own, "evaluate": evaluate, "model": str(model)})
    before = read_record_sets(out / "records" / "before")
    assert evaluate_model(alone, tmp_path / "scores", before=before) == found.epochs[0].scores
    assert read_record_sets(tmp_path / "scores" / "records") == read_record_sets(out / "records" / "epochs" / "001")
    assert found.epochs[0].scores != found.epochs[1].scores != found.epochs[2].scores


@pytest.mark.parametrize(
    "lora", [pytest.param(None, id="full", marks=pytest.mark.slow), pytest.param({"r": 2, "dropout": 0.3}, id="lora")]
)
def test_the_best_epochs_model_is_left_and_scored(config, complete, source, tmp_path, monkeypatch, lora):
    copies, take = {}, EpochSnapshots.take

    def watched(self, placement, step):
        copies[step] = copy.deepcopy(placement.model)
        take(self, placement, step)

    monkeypatch.setattr(EpochSnapshots, "take", watched)
    monkeypatch.setattr(epoch_scores, "best_index", lambda scores: 1 if len(scores) == 3 else None)
    out = tmp_path / "run"
    chosen = config(train={"lora": lora}, evaluate={"select_epoch": "best"})
    results = run(chosen, out)
    assert (results.trajectory.best, results.trajectory.kept) == (2, 2)
    assert results.after == results.trajectory.epochs[1].scores != results.trajectory.epochs[2].scores
    assert read_record_sets(out / "records" / "after") == read_record_sets(out / "records" / "epochs" / "002")
    save_model(copies[8], load_tokenizer(source), tmp_path / "then" / "model", source=source, name=str(source))
    for name in ("model", "adapter") if lora else ("model",):
        assert files(out / name) == files(tmp_path / "then" / name)
        assert (out / name / "README.md").is_file()
    assert not (out / "checkpoints").exists()

    whole = outcome(out)
    monkeypatch.setattr(evaluation_stages, "evaluate", None)  # a complete run does nothing again
    monkeypatch.setattr(unlearning_stage, "train", None)
    assert run(chosen, out, resume=True) == results
    assert outcome(out) == whole


def test_last_is_kept_where_it_was_not_asked_for_the_best(complete):
    _, results, _ = complete
    found = results.trajectory
    assert found.best in (1, 2, 3)
    assert found.kept == 3


def test_only_one_model_at_a_time_is_in_memory(config, tmp_path, loads, monkeypatch):
    monkeypatch.setattr(epoch_scores, "best_index", lambda _: 0)
    run(config(train={"epochs": 2}, evaluate={"select_epoch": "best"}), tmp_path / "run")
    rebuilt = [("float32", 0), ("model", 0)]
    assert loads == [("float32", 0), ("float32", 0), ("model", 0), *rebuilt, ("float32", 0)]


# Refused before anything is written


def task(*sets: str) -> Task:
    item = Item(id="1", question="Who?", answer="Ann.")
    evaluation = tuple(EvaluationSet(name=name, items=(item,), entailment_premise="output") for name in sets)
    return Task(name="mine", forget=(item,), retain=(), evaluation=evaluation, refusals=("No.",))


BEST = {"select_epoch": "best"}


@pytest.mark.parametrize(
    ("changes", "sets", "problem"),
    [
        ({"evaluate": BEST}, ("forget", "forgotten-1"), "mine has no retain set"),
        ({"definition": "tofu", "evaluate": BEST}, ("forget", "retain"), "the definition tofu has no forget efficacy"),
        ({"evaluate": BEST}, None, "needs scores of every epoch"),
        ({"evaluate": BEST}, ("forget", "neighbor"), None),
        ({"definition": "tofu"}, ("forget",), None),
    ],
)
def test_the_best_epoch_needs_both_scores(config, changes, sets, problem):
    chosen, data = config(**changes), None if sets is None else task(*sets)
    if problem is None:
        check_epoch_selection(chosen, data)
        return
    with pytest.raises(EffaceError) as raised:
        check_epoch_selection(chosen, data)
    for part in ("evaluate.select_epoch=best", problem, "evaluate.select_epoch=last"):
        assert part in str(raised.value)


def test_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(EffaceError, match="the definition tofu has no forget efficacy"):
        run(config(definition="tofu", evaluate={"select_epoch": "best"}), tmp_path / "run")
    with pytest.raises(EffaceError, match="needs scores of every epoch"):
        unlearn(config(evaluate={"select_epoch": "best"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
