"""The outputs of a search: the table, and that another choice replaces all of them."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from efface.commands.purge import purge
from efface.commands.verify import verify
from efface.config.parse import read_yaml
from efface.files.folders import TunePaths
from efface.progress.reporter import SilentReporter
from efface.tuning.outputs import best_config, trials_csv, write_outputs
from efface.tuning.request import tuning_of
from efface.tuning.search import tune
from efface.tuning.setup import set_up
from efface.tuning.study import Study

KEEP = 0.5


@pytest.fixture(scope="module")
def searched(taught_towns, tmp_path_factory):
    """The folder of a search of two trials, what they share, and the trials."""
    out = tmp_path_factory.mktemp("searched") / "out"
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("efface.tuning.search.drop_scored_weights", lambda *_: None)  # both are chosen below
    tuning = tuning_of(None, [], keep=KEEP, trials=2, methods=["me+gd", "ga+gd"], settings=taught_towns)
    tune(tuning, out)
    monkeypatch.undo()
    setup = set_up(tuning, out, data_dir=None, resume=True, reporter=SilentReporter())
    return out, setup, Study(TunePaths(out), keep=KEEP, seed=0).trials()


def test_the_table(searched):
    _, setup, trials = searched
    rows = list(csv.DictReader(trials_csv(trials, setup).splitlines()))
    for row, trial in zip(rows, trials, strict=True):
        assert (row["trial"], row["state"], row["method"]) == (str(trial.number), "complete", trial.settings["method"])
        assert float(row["train.lr"]) == trial.settings["train.lr"]
        assert float(row["kept_at_least"]) == trial.best.kept_at_least
        assert float(row["full_forget_efficacy"]) == trial.full.forget_efficacy


def test_no_share_in_the_table_is_below_zero(searched):
    _, setup, (trial, _) = searched
    low = trial.best.model_copy(update={"kept_at_least": -0.1})
    (row,) = csv.DictReader(trials_csv([trial.model_copy(update={"best": low, "full": low})], setup).splitlines())
    assert row["kept_at_least"] == row["full_kept_at_least"] == "0.0"
    (row,) = csv.DictReader(trials_csv([trial.model_copy(update={"best": low, "full": None})], setup).splitlines())
    assert row["full_kept_at_least"] == row["full_forget_efficacy"] == ""


def test_the_settings_are_those_of_the_trial_and_end_at_its_epoch(searched):
    _, setup, (first, second) = searched
    for trial, method in ((first, "me+gd"), (second, "ga+gd")):
        config = best_config(setup, trial)
        assert (config.method, config.train.stop_after) == (method, trial.best.epoch)
        assert config.train.epochs == trial.settings["train.epochs"]


def test_another_choice_replaces_all_of_it(searched):
    out, setup, trials = searched
    paths = TunePaths(out)
    for trial in trials:
        results = write_outputs(setup, trial, trials, SilentReporter())
        assert results.method == trial.settings["method"] == read_yaml(paths.best)["method"]
        assert read_yaml(paths.config) == read_yaml(paths.best)
        assert json.loads(paths.results.read_text())["tune"]["chosen"] == trial.number
        assert f"trial {trial.number}" in json.loads(paths.manifest.read_text())["notes"][-1]


@pytest.fixture(scope="module")
def finished(taught_towns, tmp_path_factory):
    """The folder of a finished search."""
    out = tmp_path_factory.mktemp("finished") / "out"
    tune(tuning_of(None, [], keep=KEEP, trials=1, methods=["me+gd"], settings=taught_towns), out)
    return out


def test_it_is_intact_and_can_be_purged(finished, tmp_path):
    assert verify(finished).is_intact
    copied = shutil.copytree(finished, tmp_path / "copy")
    assert not any((copied / "trials").glob("*/weights")), "all were scored in full"
    purged = purge(copied)
    assert not purged.unknown
    left = [path for path in copied.rglob("*") if path.is_file() and path.parent.name != "model"]
    assert {path.relative_to(copied).parts[0] for path in left} >= {"best.yaml", "results.json", "trials.csv", "search"}
    assert not [path for path in left if b"Tower 0 is in" in path.read_bytes()]


def test_only_the_owner_can_read_it(finished):
    assert not [path for path in finished.rglob("*") if path.stat().st_mode & 0o077]
