from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from efface.auditing.audited_run import read_audited_run
from efface.commands.purge import purge
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from support.messages import assert_names


def test_a_finished_run(hidden_run: Path) -> None:
    run = read_audited_run(hidden_run)
    assert len(run.before) == 6
    assert run.settings.method == "idk+gd"
    assert run.settings.train.lr == 1e-3


def refused(path: Path) -> str:
    with pytest.raises(EffaceError) as error:
        read_audited_run(path)
    return str(error.value)


def test_no_run(tmp_path: Path) -> None:
    assert_names(refused(tmp_path), str(tmp_path), "config.yaml")


def test_a_run_without_a_model(hidden_run: Path) -> None:
    shutil.rmtree(RunPaths(hidden_run).model)
    assert_names(refused(hidden_run), str(hidden_run), "no model", "--resume")


def test_a_run_that_is_not_finished(hidden_run: Path) -> None:
    RunPaths(hidden_run).results.unlink()
    assert_names(refused(hidden_run), str(hidden_run), "not finished", "--resume")


def test_damaged_results_are_refused_before_any_attack(hidden_run: Path) -> None:
    (hidden_run / "results.json").write_text("{")
    with pytest.raises(EffaceError) as error:
        read_audited_run(hidden_run)
    assert_names(str(error.value), "results.json")


def test_a_run_without_an_evaluation(hidden_run: Path) -> None:
    RunPaths(hidden_run).results.unlink()
    shutil.rmtree(RunPaths(hidden_run).records_root)
    assert_names(refused(hidden_run), "efface run")


def test_a_run_whose_records_of_before_are_gone(hidden_run: Path) -> None:
    (RunPaths(hidden_run).records("before") / "forget.jsonl").unlink()
    assert_names(refused(hidden_run), str(hidden_run), "records")


def test_a_purged_run(hidden_run: Path) -> None:
    purge(hidden_run)
    assert_names(refused(hidden_run), str(hidden_run), "purged")


def test_a_queue(hidden_run: Path) -> None:
    config = RunPaths(hidden_run).config
    config.write_text(config.read_text().replace("continual: null", "continual: {requests: [1, 2]}"))
    assert_names(refused(hidden_run), "requests/01")


def test_damaged_settings(hidden_run: Path) -> None:
    config = RunPaths(hidden_run).config
    config.write_text(config.read_text().replace("max_new_tokens: 24", "max_new_tokens: many"))
    assert_names(refused(hidden_run), str(config), "max_new_tokens")


def test_a_fine_tuning(hidden_run: Path) -> None:
    config = RunPaths(hidden_run).config
    config.write_text(config.read_text().replace("method: idk+gd\n", ""))
    assert_names(refused(hidden_run), str(config), "efface run")
