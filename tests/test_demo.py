"""A small demo: what it writes and prints, and that it removes nothing but an earlier demo."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console
from transformers import LlamaForCausalLM

from efface import demo
from efface.demo import METHODS, make_target, run_demo
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.progress.console import ConsoleReporter
from efface.progress.reporter import SilentReporter

SMALL = ["data.authors=3", "data.forget_authors=1", "train.epochs=2", "train.warmup_steps=0", "train.batch_size=20"]
QUICK = ["train.epochs=1", "data.retain_evaluation=2"]
TINY = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_demo_compares_four_methods_and_replaces_an_earlier_demo(tmp_path, capsys, monkeypatch, quick):
    if quick:
        monkeypatch.setattr(demo, "_MODEL_SHAPE", TINY)
        monkeypatch.setattr(demo, "_VOCABULARY", 400)
    out = tmp_path / "demo"
    (out / "me+gd").mkdir(parents=True)
    (out / "me+gd" / "results.json").write_text("from an earlier demo")
    (out / ".efface-demo").write_text("")
    monkeypatch.setattr(demo, "most_at_once", lambda _: 2)
    settings = [*SMALL, *(QUICK if quick else ())]
    results = run_demo(out, seed=4, settings=settings)
    assert list(results) == list(METHODS)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("ME+GD", "IDK+AP", "GA+GD", "IDK+GD", "Forget set", "Retain set"))
    assert "• me+gd: unlearning with me+gd" in printed
    order = ["Forget set", "Answers by set", ": gives ", "report: ", "next: "]
    assert sorted(order, key=" ".join(printed.split()).rindex) == order, "what is longest comes first"
    assert f"report: {out / 'report.html'}" in printed
    assert (out / "report.html").read_text().count('<article class="headline">') == len(METHODS)
    assert f"next: efface tune demo model={out / 'target' / 'model'} seed=4 data.author_seed=4 --keep 0.95" in printed
    assert [line.split()[0] for line in printed.splitlines() if re.search(r": gives \d+ of 20\b", line)] == [
        method.upper() for method in METHODS
    ]
    for method in METHODS:
        written = json.loads((out / method / "results.json").read_text())
        assert (written["method"], written["before"]["sets"]["forget"]["n"]) == (method, 20)
        assert json.loads((out / method / "manifest.json").read_text())["seed"] == 4
    _check_one_process_writes_the_same(out, tmp_path / "one", settings, monkeypatch)


def _check_one_process_writes_the_same(out, again, settings, monkeypatch):
    monkeypatch.setattr(demo, "most_at_once", lambda _: 1)
    monkeypatch.setattr(demo, "METHODS", METHODS[:2])
    before = read_record_sets(out / "before" / "records")
    with ConsoleReporter(Console()) as reporter:
        pairs = ["seed=4", "data.author_seed=4", *settings]
        target = out / "target" / "model"
        judges = demo._open_judges(target, pairs)
        demo._unlearn(again, target, before, pairs, judges, reporter=reporter)
    for method in METHODS[:2]:
        files = [path.relative_to(again) for path in (again / method).rglob("*") if path.is_file()]
        assert len(files) >= 8
        timed = {"manifest.json", "metrics.jsonl", "README.md"}
        for file in [file for file in files if file.name not in timed]:
            assert (out / file).read_bytes() == (again / file).read_bytes(), file


def test_a_base_model_that_a_kill_left_incomplete_is_not_trained_from(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_MODEL_SHAPE", TINY)
    monkeypatch.setattr(demo, "_VOCABULARY", 400)
    with monkeypatch.context() as patched:
        patched.setattr(LlamaForCausalLM, "save_pretrained", _killed)
        with pytest.raises(KeyboardInterrupt):
            make_target(tmp_path / "target", SMALL, reporter=SilentReporter())
    assert not (tmp_path / "base").exists()
    made = make_target(tmp_path / "target", SMALL, reporter=SilentReporter())
    assert (made / "config.json").is_file()
    assert not list(tmp_path.glob(".base*"))


def _killed(_model, folder):
    folder.mkdir(parents=True)
    raise KeyboardInterrupt


def test_demo_removes_only_its_own_files(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine.txt").write_text("mine")
    with pytest.raises(EffaceError, match="not empty and has no earlier demo in it; choose another folder"):
        run_demo(tmp_path, seed=0)
    (tmp_path / ".efface-demo").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EffaceError, match=r"files that the demo did not write: notes.txt; choose another folder"):
        run_demo(tmp_path, seed=0)
    assert (tmp_path / "target" / "mine.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(EffaceError, match="is a file; give a folder"):
        run_demo(tmp_path / "file", seed=0)
