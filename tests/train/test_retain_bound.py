"""The coefficient that follows the retain loss: its formula, the logs, and that a resumed run is the same."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.run.pipeline import unlearn
from efface.train.retain_bound import dual_step
from support.messages import assert_names
from support.run_fixtures import model_in, one_thread, settings, source  # noqa: F401


def test_the_coefficient_grows_above_the_bound_and_is_never_negative():
    assert dual_step(1.0, 0.7, bound=0.2, rate=2.0) == pytest.approx(2.0)
    assert dual_step(1.0, 0.1, bound=0.2, rate=2.0) == pytest.approx(0.8)
    assert dual_step(0.1, 0.0, bound=0.2, rate=2.0) == 0.0


@pytest.fixture
def config(settings):  # noqa: F811
    train = {"retain_bound": 0.5, "retain_bound_rate": 0.25}
    return lambda **changes: validate_config(
        RunConfig, merge_settings(merge_settings(settings, {"train": train}), changes)
    )


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_each_step_has_the_coefficient_of_the_step_before(config, tmp_path):
    unlearn(config(retain_coeff=0.7), tmp_path / "run")
    steps = lines(tmp_path / "run")
    assert steps[0]["retain_coeff"] == 0.7
    for before, after in pairwise(steps):
        expected = max(0.0, before["retain_coeff"] + 0.25 * (before["retain"] - 0.5))
        assert after["retain_coeff"] == pytest.approx(expected)
        assert after["loss"] == pytest.approx(after["forget"] + after["retain_coeff"] * after["retain"])


def test_it_changes_what_is_trained_and_nothing_is_logged_without_it(config, settings, tmp_path):  # noqa: F811
    unlearn(config(), tmp_path / "bound")
    unlearn(validate_config(RunConfig, settings), tmp_path / "free")
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("bound", "free"))
    assert one != other
    assert "retain_coeff" not in lines(tmp_path / "free")[0]


def test_a_resumed_run_is_the_same(config, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    unlearn(config(), whole)

    def until_step_5(folder, log, write):
        write(folder, log)
        if log.step == 5:
            raise KeyboardInterrupt

    from efface.run.folder import RunFolder

    write = RunFolder.append_step
    monkeypatch.setattr(RunFolder, "append_step", lambda folder, log: until_step_5(folder, log, write))
    with pytest.raises(KeyboardInterrupt):
        unlearn(config(), stopped)
    monkeypatch.undo()
    (state,) = (stopped / "checkpoints").glob("step-*/trainer_state.json")
    assert json.loads(state.read_text())["retain_coeff"] > 0
    unlearn(config(), stopped, resume=True)
    name = "model/model.safetensors"
    assert (whole / name).read_bytes() == (stopped / name).read_bytes()
    untimed = [[{**line, "seconds": 0} for line in lines(folder)] for folder in (whole, stopped)]
    assert untimed[0] == untimed[1]


def test_a_method_without_a_retain_loss_and_a_fine_tuning_are_refused(config, settings, tmp_path):  # noqa: F811
    with pytest.raises(EffaceError) as refused:
        unlearn(config(method="me"), tmp_path / "run")
    assert_names(str(refused.value), "train.retain_bound", "me+gd")
    with pytest.raises(EffaceError) as refused:
        validate_config(FinetuneConfig, {"model": "m", "data": settings["data"], "train": {"retain_bound": 1}})
    assert_names(str(refused.value), "retain_bound")
