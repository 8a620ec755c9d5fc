"""What is searched: the default space, a file, and what a trial's settings are."""

from __future__ import annotations

import pytest

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.tuning.space import Range, apply, default_space, describe, read_space, starts
from support.messages import assert_names


def config(**changes):
    settings = {"model": "m", "data": {"forget": "f.csv", "retain": "r.csv"}, "method": "me+gd"}
    return validate_config(RunConfig, merge_settings(settings, changes))


BASES = {"me+gd": config(), "idk+ap": config(method="idk+ap", forget_coeff=0.1)}


@pytest.fixture
def read(tmp_path):
    def parse(text):
        (tmp_path / "space.yaml").write_text(text)
        return read_space(tmp_path / "space.yaml", BASES["me+gd"], ["me+gd"])

    return parse


def test_by_default_the_methods_and_four_settings_are_searched():
    space = default_space(BASES, items=40, parameters=1_000_000)
    assert [*space] == ["method", "train.lr", "forget_coeff", "train.epochs", "train.batch_size"]
    assert space["method"] == ("me+gd", "idk+ap")
    assert space["train.batch_size"] == (4, 8, 16, 32)
    assert space["train.lr"] == Range(low=3e-5, high=3e-3, log=True), "for the size of the model, as none was set"
    one = default_space({"me+gd": config(train={"lr": 2e-4})}, items=3, parameters=1_000_000)
    assert "method" not in one
    assert "train.batch_size" not in one, "3 items are one batch in any case"
    assert one["train.lr"] == Range(low=2e-5, high=2e-3, log=True)


def test_each_method_is_first_tried_as_it_is():
    space = default_space(BASES, items=40, parameters=1_000_000)
    first, second = starts(BASES, space, 1_000_000)
    assert (first["method"], first["forget_coeff"]) == ("me+gd", 1.0)
    assert (second["method"], second["forget_coeff"]) == ("idk+ap", 0.1)
    assert first["train.lr"] == pytest.approx(3e-4)
    assert isinstance(first["train.epochs"], int)


def test_a_start_beyond_the_space_is_moved_into_it(read):
    space = read("train.lr: {low: 1.0e-6, high: 2.0e-6}\ntrain.batch_size: [2, 4]\n")
    assert starts({"me+gd": BASES["me+gd"]}, space, 7_000_000_000) == [{"train.lr": 2e-6, "train.batch_size": 2}]


def test_the_settings_of_a_trial_are_those_of_its_method():
    found = apply(BASES, {"method": "idk+ap", "train.lr": 3e-4, "train.epochs": 7})
    assert (found.method, found.forget_coeff, found.train.lr, found.train.epochs) == ("idk+ap", 0.1, 3e-4, 7)


def test_a_file_replaces_the_space(read):
    space = read(
        "train.lr: {low: 1.0e-5, high: 1.0e-3, log: true}\ntrain.epochs: {low: 2, high: 9}\nbeta: [0.1, 0.5]\n"
    )
    assert describe(space) == {
        "train.lr": {"low": 1e-5, "high": 1e-3, "log": True},
        "train.epochs": {"low": 2.0, "high": 9.0, "log": False},
        "beta": [0.1, 0.5],
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("train.lrr: [1.0e-5]\n", ("train.lrr", "train.lr")),
        ("seed: [0, 1]\n", ("seed",)),
        ("data.retain_evaluation: [1]\n", ("data.retain_evaluation",)),
        ("train.stop_after: [1]\n", ("train.stop_after",)),
        ("train.lr: {low: 2, high: 1}\n", ("train.lr", "low=2", "high=1")),
        ("train.lr: {low: 0, high: 1, log: true}\n", ("train.lr", "low=0", "log")),
        ("train.lr: 1.0e-5\n", ("train.lr", "[1, 2]")),
        ("train.lr: {low: 1.0e-5, hgh: 1.0e-3}\n", ("train.lr", "high")),
        ("train.lr: {low: -1, high: 1}\n", ("train.lr", "-1")),
        ("train.batch_size: [0, 4]\n", ("train.batch_size", "0")),
        ("method: [nonsense]\n", ("method", "nonsense")),
        ("train.lr: [{a: 1}]\n", ("train.lr",)),
        ("{}\n", ("space.yaml",)),
    ],
)
def test_what_cannot_be_searched_is_refused(read, text, named):
    with pytest.raises(EffaceError) as refused:
        read(text)
    assert_names(str(refused.value), "--space", *named)
