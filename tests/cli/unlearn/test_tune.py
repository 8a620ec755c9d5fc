"""`efface tune`: what it prints, its exit codes, and the demo without a model."""

from __future__ import annotations

import json
import sys

import pytest

from support.messages import assert_names
from support.run_fixtures import one_thread  # noqa: F401
from support.tune_fixtures import taught_towns, towns_file  # noqa: F401


@pytest.fixture
def towns(taught_towns, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    return towns_file(taught_towns, tmp_path).name


def test_what_is_printed(efface, towns, tmp_path):
    ran = efface("tune", towns, "--keep", "0.01", "--trials", "1", "--methods", "me+gd", "--out", "out")
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert "settings: out/best.yaml" in lines
    assert any("no paraphrased questions" in line for line in lines)
    assert "next: efface run out/best.yaml --out out-again" in lines
    assert any(line.startswith("trial 1 of 1, epoch ") for line in lines)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["tune"]["held"] is True


def test_nothing_within_the_bound_exits_with_3(efface, towns):
    options = ("--keep", "1", "--trials", "1", "--methods", "ga+gd", "--out", "out")
    ran = efface("tune", towns, "train.lr=0.01", "forget_coeff=3", *options)
    assert ran.returncode == 3
    assert_names(ran.stderr, "--keep 1", "out/report.html", "--resume")
    assert "model: out/model" in ran.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--keep", "1.5"), ("--keep 1.5", "0.95")),
        (("--keep", "-1"), ("--keep",)),
        (("--keep", "0.9", "--space", "space.yaml"), ("space.yaml", "train.lrr", "train.lr")),
        (("--keep", "0.9", "--methods", "nonsense"), ("nonsense",)),
        (("--keep", "0.9", "--methods", ","), ("--methods", "me+gd")),
        (("--keep", "0.9", "--minutes", "1", "--trials", "1"), ("--minutes", "--trials")),
    ],
)
def test_bad_input_is_one_sentence(efface, towns, tmp_path, words, named):
    (tmp_path / "space.yaml").write_text("train.lrr: [1.0]\n")
    ran = efface("tune", towns, *words, "--out", "out")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert_names(ran.stderr, *named)
    assert not (tmp_path / "out" / "search" / "study.jsonl").exists()


def test_without_optuna(efface, towns, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    ran = efface("tune", towns, "--keep", "0.9", "--out", "out")
    assert ran.returncode == 2
    assert_names(ran.stderr, "Optuna", "[tune]")


def test_the_demo_makes_its_target(efface, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []

    def target(folder, settings, *, reporter):
        made.append((str(folder), list(settings)))
        raise KeyboardInterrupt

    monkeypatch.setattr("efface.demo.make_target", target)
    ran = efface("tune", "demo", "data.authors=4", "--keep", "0.9", "--out", "out")
    assert ran.returncode == 130
    assert made == [("out/target", ["data.authors=4"])]
