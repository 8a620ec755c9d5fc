"""`keep`: where training ends, what is saved, resuming, queues, and what is refused."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual.queue import run_queue
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from efface.run.pipeline import run, unlearn
from efface.run.selection import keep_bound
from efface.run.selection.keep_bound import KeepBound
from efface.scores.kept import Kept
from support.messages import assert_names
from support.tune_fixtures import taught_towns  # noqa: F401


@pytest.fixture
def config(taught_towns):  # noqa: F811
    base = merge_settings(taught_towns, {"method": "ga+gd", "keep": 0.5, "train": {"epochs": 6}})
    return lambda **changes: validate_config(RunConfig, merge_settings(base, changes))


@pytest.fixture
def looks(monkeypatch):
    """Replace the scores by these: share that is kept at least, and forget efficacy; after each step."""

    def give(*numbers, gone=False):
        given = iter(numbers)

        def score(*_):
            share, forgot = next(given)
            return Kept(share=share, at_least=share, utility=share, forget_efficacy=forgot), gone

        monkeypatch.setattr("efface.run.selection.quick_scores.QuickScores.score", score)

    return give


def logs(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "kept_at_least" in line], [line["step"] for line in lines if "loss" in line]


def weights(out):
    return load_file(RunPaths(out).model / "model.safetensors")


def equal(one, other):
    return all(bool((one[name] == other[name]).all()) for name in one)


def test_training_ends_at_the_bound_and_the_last_state_within_it_is_saved(config, looks, tmp_path):
    looks((0.9, 0.1), (0.8, 0.2), (0.4, 0.3))
    results = run(config(), tmp_path / "run")
    assert (results.keep.step, results.keep.stopped_after, results.keep.reason) == (2, 3, "bound")
    assert (results.keep.kept, results.keep.kept_at_least, results.keep.steps) == (0.8, 0.8, 6)
    assert logs(tmp_path / "run")[1] == [1, 2, 3]
    (manifest,) = (json.loads((tmp_path / "run" / "manifest.json").read_text()),)
    assert any("step 3 of 6" in note and "step 2" in note for note in manifest["notes"])
    unlearn(config(keep=None, train={"stop_after": 2}), tmp_path / "two")
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "two")), "the state after two of six epochs"
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_state_beyond_the_bound_at_once_leaves_the_model_alone(config, looks, taught_towns, tmp_path):  # noqa: F811
    looks((0.4, 0.9))
    results = run(config(), tmp_path / "run")
    assert (results.keep.step, results.keep.kept, results.keep.reason) == (0, 1.0, "bound")
    before = load_file(f"{taught_towns['model']}/model.safetensors")
    assert equal(weights(tmp_path / "run"), before)


def test_training_ends_when_what_should_go_has_gone(config, looks, tmp_path):
    looks((0.9, 0.5), (0.9, 0.7), (0.9, 0.705), gone=True)
    results = run(config(), tmp_path / "run")
    assert (results.keep.step, results.keep.stopped_after, results.keep.reason) == (3, 3, "gone")


def test_a_complete_training_is_saved_as_without_keep(config, looks, tmp_path):
    looks(*[(0.9, 0.1 * number) for number in range(6)])
    results = run(config(), tmp_path / "run")
    assert (results.keep.step, results.keep.reason) == (6, "end")
    unlearn(config(keep=None), tmp_path / "plain")
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "plain"))


def test_it_may_look_every_few_steps(config, looks, tmp_path):
    looks((0.9, 0.1), (0.9, 0.2))
    run(config(evaluate={"every": 4}), tmp_path / "run")
    assert [log["step"] for log in logs(tmp_path / "run")[0]] == [4, 6], "and after the last one"


def test_real_scores(config, tmp_path):
    results = run(config(train={"lr": 3e-3}), tmp_path / "run")
    found, _ = logs(tmp_path / "run")
    assert all(0 <= log["forget_efficacy"] <= 1 for log in found)
    assert found[-1]["forget_efficacy"] > found[0]["forget_efficacy"] or results.keep.reason == "bound"
    assert results.keep.kept_at_least >= 0.5


def test_a_killed_run_resumes_to_the_same(config, looks, tmp_path, monkeypatch):
    shares = [(0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.3, 0.4)]
    looks(*shares)
    run(config(), tmp_path / "whole")
    after_step = KeepBound.after_step

    def killed(bound, model, step):
        if step == 4:
            raise KeyboardInterrupt
        return after_step(bound, model, step)

    looks(*shares)
    saved = config(train={"save_steps": 2})
    monkeypatch.setattr(KeepBound, "after_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(saved, tmp_path / "killed")
    monkeypatch.setattr(KeepBound, "after_step", after_step)
    looks(*shares[2:])  # the checkpoint is that of step 2
    results = run(saved, tmp_path / "killed", resume=True)
    assert (results.keep.step, results.keep.stopped_after) == (3, 4)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_states_that_a_resumed_run_cannot_end_with_are_removed(config, looks, tmp_path, monkeypatch):
    looks((0.9, 0.1), (0.8, 0.2), (0.4, 0.3))
    monkeypatch.setattr(keep_bound, "checkpoint", SimpleNamespace(latest=lambda folder: (2, folder)))
    stored = []
    save = KeepBound.save

    def watched(bound, model):
        stored.extend(sorted(path.name for path in bound.snapshots.folder.iterdir()))
        save(bound, model)

    monkeypatch.setattr(KeepBound, "save", watched)
    assert run(config(), tmp_path / "run").keep.step == 2
    assert stored == ["step-000002"]


def test_a_queue_compares_each_request_with_the_first_model(config, taught_towns, tmp_path, monkeypatch):  # noqa: F811
    compared = []
    from efface.run.selection.quick_scores import QuickScores

    make = QuickScores.__init__

    def watched(self, held_out, before, **options):
        compared.append(before["retain"])
        make(self, held_out, before, **options)

    monkeypatch.setattr(QuickScores, "__init__", watched)
    second = tmp_path / "second.jsonl"
    second.write_text('{"question": "Where is tower 99?", "answer": "Tower 99 is in Rome."}\n')
    data = {"retain": taught_towns["data"]["retain"]}
    requests = {"requests": [taught_towns["data"]["forget"], str(second)]}
    values = merge_settings({**taught_towns, "data": data}, {"method": "ga+gd", "keep": 0.5, "train": {"epochs": 2}})
    run_queue(validate_config(RunConfig, {**values, "continual": requests}), tmp_path / "queue")
    assert len(compared) == 2
    assert [record.output for record in compared[0]] == [record.output for record in compared[1]]
    done = (tmp_path / "queue" / "requests").glob("*/results.json")
    assert all("keep" in json.loads(path.read_text()) for path in done)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"evaluate": {"every": "epoch", "select_epoch": "best"}}, ("keep", "evaluate.select_epoch=best")),
        ({"keep": None, "evaluate": {"every": 3}}, ("evaluate.every=3", "keep")),
        ({"definition": "tofu"}, ("keep", "definition=tofu", "closer-look")),
        ({"keep": 1.5}, ("keep", "1.5")),
        ({"keep": 0}, ("keep", "0")),
    ],
)
def test_settings_that_exclude_each_other_are_refused(config, changes, named):
    with pytest.raises(EffaceError) as refused:
        config(**changes)
    assert_names(str(refused.value), *named)


def test_without_questions_to_keep_or_scores_it_is_refused(config, tmp_path):
    with pytest.raises(EffaceError) as refused:
        run(config(method="ga", data={"retain": None}), tmp_path / "run")
    assert_names(str(refused.value), "data.retain")
    with pytest.raises(EffaceError) as refused:
        unlearn(config(), tmp_path / "run")
    assert_names(str(refused.value), "keep", "efface run")
    assert not (tmp_path / "run").exists()
