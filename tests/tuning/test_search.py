"""A whole search: what it leaves, that a run repeats it, that it resumes, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from efface.errors import EffaceError
from efface.files.atomic import WriteError
from efface.files.folder_lock import lock_folder
from efface.files.folders import TunePaths
from efface.run.pipeline import run
from efface.tuning.request import tuning_of
from efface.tuning.search import _drop_weights, tune
from efface.tuning.study import Study
from support.messages import assert_names

KEEP = 0.5
TRIALS = 3


@pytest.fixture(scope="module")
def asked(taught_towns):
    def ask(**changes):
        given = {"keep": KEEP, "trials": TRIALS, "methods": ["me+kl", "ga+gd"], "settings": taught_towns, **changes}
        return tuning_of(None, [], **given)

    return ask


@pytest.fixture(scope="module")
def found(asked, tmp_path_factory):
    """The folder of a search, and its results."""
    out = tmp_path_factory.mktemp("tuned") / "out"
    return out, tune(asked(), out)


def test_what_is_left(found):
    out, results = found
    paths = TunePaths(out)
    assert json.loads(paths.results.read_text()) == results.to_json()
    assert results.verdict is not None
    assert results.verdict.forget.leaks.n == results.after.sets["forget"].n
    with paths.table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [str(number) for number in range(1, TRIALS + 1)]
    assert {row["method"] for row in rows} == {"me+kl", "ga+gd"}, "each method's own settings are tried first"
    assert "The search" in paths.page.read_text()
    assert not [*out.rglob("reference*")], "of a trial with KL, removed when it ends"
    assert results.tune is not None
    chosen = next(each for each in results.tune.trials if each.number == results.tune.chosen)
    assert chosen.full is not None
    assert results.tune.held == (chosen.full.kept_at_least >= KEEP)


def test_the_reported_questions_were_not_searched(found):
    out, _ = found
    searched, reported = (
        {json.loads(line)["id"] for line in (folder / "records" / "before" / "retain.jsonl").open()}
        for folder in (out / "search", out)
    )
    assert len(searched) == len(reported) == 4
    assert not searched & reported


def test_a_run_makes_the_same_model(found, tmp_path):
    out, _ = found
    config = resolve_config(RunConfig, str(TunePaths(out).best))
    run(config, tmp_path / "again")
    name = "model/model.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def test_a_finished_search_is_extended(found, asked, tmp_path, monkeypatch):
    out, results = found
    paths = TunePaths(shutil.copytree(out, tmp_path / "copy"))
    other = next(each.number for each in results.tune.trials if each.number != results.tune.chosen)
    paths.full_scores(other).unlink()
    left = paths.trial_weights(other) / "left"
    left.mkdir(parents=True)
    with monkeypatch.context() as none_stored:
        none_stored.setattr("efface.tuning.select._STORED", 0)
        again = tune(asked(), tmp_path / "copy", resume=True)
    assert [each.best for each in again.tune.trials] == [each.best for each in results.tune.trials], "none was made"
    assert not left.exists(), "weights that another process left while one chose"
    more = tune(asked(trials=TRIALS + 1), tmp_path / "copy", resume=True)
    assert more.tune.trials[:TRIALS] == [
        each.model_copy(update={"full": more.tune.trials[number].full})
        for number, each in enumerate(results.tune.trials)
    ]
    assert len(more.tune.trials) == TRIALS + 1


class Killed(BaseException):
    pass


def test_a_kill_loses_the_trial_in_flight_alone(asked, tmp_path, monkeypatch):
    scored = []

    def until_the_second_trial(trial, candidates):
        scored.append(trial.number)
        if trial.number == 2:
            raise Killed

    monkeypatch.setattr("efface.tuning.study.StudyTrial.add", until_the_second_trial)
    with pytest.raises(Killed):
        tune(asked(), tmp_path / "out")
    monkeypatch.undo()
    with (tmp_path / "out" / "search" / "study.jsonl").open("a") as journal:
        journal.write('{"op_code":8,"worker')  # a write that the kill cut off
    before = Study(TunePaths(tmp_path / "out"), keep=KEEP, seed=0).trials()
    assert [each.number for each in before] == [1]
    results = tune(asked(), tmp_path / "out", resume=True)
    assert [each.number for each in results.tune.trials] == [1, 3, 4], "trial 2 was in flight"
    assert results.tune.begun == TRIALS + 1


def test_a_trial_on_a_full_disk_is_made_again(asked, tmp_path, monkeypatch):
    def full(*_):
        raise WriteError("cannot write: no space left; free some space")

    monkeypatch.setattr("efface.run.selection.weight_snapshots.WeightSnapshots.write", full)
    with pytest.raises(WriteError):
        tune(asked(trials=1), tmp_path / "out")
    monkeypatch.undo()
    results = tune(asked(trials=1), tmp_path / "out", resume=True)
    assert [each.state for each in results.tune.trials] == ["complete"]


def test_no_weights_are_removed_while_another_process_chooses(tmp_path, monkeypatch):
    dropped = []
    monkeypatch.setattr("efface.tuning.search.drop_weights", lambda _, trials: dropped.append(trials))
    setup = SimpleNamespace(paths=TunePaths(tmp_path))
    study = SimpleNamespace(trials=lambda: ["trial"])
    with ThreadPoolExecutor(1) as other_process:  # locks belong to threads
        choosing = lock_folder(tmp_path)
        other_process.submit(choosing.__enter__).result()
        _drop_weights(setup, study)
        assert dropped == [], "they may be about to be rebuilt"
        other_process.submit(choosing.__exit__, None, None, None).result()
    _drop_weights(setup, study)
    assert dropped == [["trial"]]


def test_a_bound_of_one_leaves_the_model_alone_or_does_not_hold(asked, tmp_path):
    results = tune(asked(keep=1.0, methods=["ga+gd"], trials=2), tmp_path / "out")
    assert results.tune.kept >= 1 or not results.tune.held


def test_no_trial_has_a_model(asked, tmp_path, monkeypatch):
    def diverged(*_):
        raise EffaceError("its weights overflow")

    monkeypatch.setattr("efface.run.selection.quick_scores.QuickScores.score", diverged)
    with pytest.raises(EffaceError) as refused:
        tune(asked(trials=1, methods=["me+gd"]), tmp_path / "out")
    assert_names(str(refused.value), "train.lr", "--space")


@pytest.mark.parametrize("changed", ["keep", "space", "methods"])
def test_a_search_of_something_else_is_refused(found, asked, tmp_path, changed):
    out, _ = found
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "space.yaml").write_text("train.lr: [1.0e-3, 2.0e-3]\n")
    changes = {"keep": 0.4, "space": tmp_path / "space.yaml", "methods": ["me+gd"]}
    with pytest.raises(EffaceError) as refused:
        tune(asked(**{changed: changes[changed]}), tmp_path / "copy", resume=True)
    assert_names(str(refused.value), "--resume", "--out")


@pytest.mark.parametrize("changed", ["model/model.safetensors", "forget.jsonl"])
def test_other_data_or_another_model_under_the_same_name_is_refused(asked, taught_towns, tmp_path, changed):
    folder = shutil.copytree(Path(taught_towns["model"]).parent, tmp_path / "mine")
    data = {name: str(folder / f"{name}.jsonl") for name in ("forget", "retain")}
    given = asked(settings=taught_towns | {"model": str(folder / "model"), "data": data}, trials=1)
    tune(given, tmp_path / "out")
    path = folder / changed
    if path.suffix == ".jsonl":
        path.write_text(path.read_text().replace("Turku", "Cadiz"))
    else:
        weights = load_file(path)
        save_file({name: each * 0.5 for name, each in weights.items()}, path, {"format": "pt"})
    with pytest.raises(EffaceError) as refused:
        tune(given, tmp_path / "out", resume=True)
    assert_names(str(refused.value), "--resume", "has changed", "--out")


@pytest.mark.parametrize("content", [b"", b'{"keep"', b"\xb6"])
def test_damaged_settings_of_a_search_are_named(found, asked, tmp_path, content):
    out, _ = found
    paths = TunePaths(shutil.copytree(out, tmp_path / "copy"))
    paths.search_settings.write_bytes(content)
    with pytest.raises(EffaceError) as refused:
        tune(asked(), paths.root, resume=True)
    assert_names(str(refused.value), str(paths.search_settings), "damaged", "--out")


def test_a_folder_with_something_else_is_refused(found, asked, tmp_path):
    out, _ = found
    with pytest.raises(EffaceError) as refused:
        tune(asked(), out)
    assert_names(str(refused.value), str(out), "--resume")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(EffaceError) as refused:
        tune(asked(), tmp_path)
    assert_names(str(refused.value), str(tmp_path))
