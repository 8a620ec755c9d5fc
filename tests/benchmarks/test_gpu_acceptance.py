"""The acceptance on a GPU, rehearsed in small sizes: every measurement is made, and every goal finds its number."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import psutil
import pytest
import torch

import gpu_acceptance
import measure as measuring
import padded_baseline
import workload
from acceptance import codes, correctness, evaluation, stages, step_costs, timeline
from acceptance.goals import GOALS, Goal, table
from acceptance.sizes import REAL, tiny_sizes
from acceptance.stages import SkippedError, attempt, run_stage
from acceptance.timeline import Interval, gaps
from efface.errors import EffaceError
from shapes import SHAPES, Shape
from support.messages import assert_names
from support.processes import run_group, run_program

SMALL = Shape(32, 2, 4, 2, 48, 5120, tie_word_embeddings=True)
SIZES = tiny_sizes()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The text and its tokenizer, made once; garbage is collected after each measurement, without what was there."""
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFFACE_DATA", str(tmp_path_factory.mktemp("empty")))
        patch.setattr(workload, "load_task", cache(workload.load_task))
        tokenizer = workload.formatter_for(*workload.load_text()).tokenizer
        patch.setattr(workload, "train_tokenizer", lambda *_: tokenizer)
        yield
    gc.unfreeze()


@pytest.fixture
def small(monkeypatch, tmp_path, text):
    """Everything in this process, with a smaller model and shorter padding."""
    monkeypatch.setitem(SHAPES, "tiny", SMALL)
    monkeypatch.setattr(measuring, "WARM_UP", 1)
    monkeypatch.setattr(padded_baseline, "PADDED_LENGTH", 80)
    monkeypatch.setattr(gpu_acceptance, "run_in_subprocess", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(gpu_acceptance, "run_stage", run_here)
    evaluation.random_model.cache_clear()
    with torch.compiler.set_stance("force_eager"):
        yield tmp_path / "results.json"


def run_here(plan, sizes, device, *, seconds):
    for name, measure in plan(sizes, device).items():
        yield name, attempt(measure)


@pytest.mark.parametrize(
    "part", [part if part == 3 else pytest.param(part, marks=pytest.mark.slow) for part in gpu_acceptance.PARTS]
)
def test_a_part_is_rehearsed(part, small, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(correctness, "execute", lambda command: run_group(tmp_path, 1, run_program, command[1:]))
    monkeypatch.setattr(gpu_acceptance, "commit", lambda: "abc")
    options = ["--tiny", "--device", "cpu", "--out", str(small), "--part", str(part)]
    assert gpu_acceptance.main(options) == 0, small.read_text()
    report = json.loads(small.read_text())
    [(number, found)] = report["parts"].items()
    assert (number, report["tiny"], found["commit"]) == (str(part), True, "abc")
    assert {"device", "versions", "date", "seconds"} <= found.keys()
    assert found["versions"].keys() >= {"torch", "transformers", "efface", "torchao", "bitsandbytes"}
    assert found["measurements"]
    for name, row in found["measurements"].items():
        assert row.keys().isdisjoint({"failed", "cut off"}), (name, row)
    skipped = [name for name, row in found["measurements"].items() if "skipped" in row]
    assert skipped == ([f"step of {model} with kernels liger" for model in ("135M", "1B")] if part == 2 else [])
    shown = capfd.readouterr().out
    assert shown.count("| rehearsed") == sum(goal.part == part for goal in GOALS)
    assert ("not measured" in shown) == bool(skipped)


def test_every_part_names_the_measurements_of_its_goals_in_real_sizes():
    for part, plans in gpu_acceptance.PARTS.items():
        names = [name for plan in plans for name in plan(REAL, "cuda")]
        assert len(names) == len(set(names))
        assert {goal.measurement for goal in GOALS if goal.part == part} <= set(names)


def test_the_padded_step_that_does_not_fit_leaves_the_packed_one(small, monkeypatch):
    measure = step_costs.measure

    def without_memory(contender, *arguments):
        if contender == "padded":
            raise torch.OutOfMemoryError
        return measure(contender, *arguments)

    monkeypatch.setattr(step_costs, "measure", without_memory)
    step = step_costs.of_1b(replace(SIZES, models=dict.fromkeys(SIZES.models, SMALL)), "cpu")["step of 1B, IDK+AP"]
    row = attempt(step)
    assert "fit" in row["padded"]["failed"]
    assert row["speedup"] is None
    assert row["speedup_over_published"] == 6.3 / row["packed"]["seconds"]


@pytest.fixture
def forked(monkeypatch):
    """Processes of stages are forked, which takes no imports and no pickling."""
    monkeypatch.setattr(stages, "START_METHOD", "fork")


def plan_of(**measurements):
    return lambda *_: measurements


def test_measurements_in_a_process_of_their_own(forked):
    def failing():
        raise ValueError("a\nreason")

    def skipped():
        raise SkippedError("nothing to do")

    plan = plan_of(pid=lambda: {"pid": os.getpid()}, failing=failing, skipped=skipped, last=lambda: {"x": 1})
    rows = dict(run_stage(plan, SIZES, "cpu", seconds=60))
    assert rows["pid"].pop("pid") != os.getpid()
    assert rows["failing"] == {"failed": "ValueError: a reason"}
    assert rows["skipped"] == {"skipped": "nothing to do"}
    assert rows["last"]["x"] == 1
    assert list(rows) == ["pid", "failing", "skipped", "last"]


def test_what_takes_too_long_is_ended_with_its_children(forked, tmp_path, monkeypatch):
    pid = tmp_path / "pid"

    def endless():
        child = subprocess.Popen(["sleep", "600"])
        pid.write_text(str(child.pid))
        time.sleep(600)

    rows = run_stage(plan_of(quick=dict, endless=endless, later=dict), SIZES, "cpu", seconds=3600)
    name, row = next(rows)
    assert name == "quick"
    assert "wall_seconds" in row
    while not pid.is_file() or not pid.read_text():
        time.sleep(0.01)
    monkeypatch.setattr(stages, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 3600))
    late = {"cut off": "not finished after 3600 s"}
    assert dict(rows) == {"endless": late, "later": late}
    assert any(has_ended(int(pid.read_text())) for _ in range(1200))


def has_ended(pid: int) -> bool:
    """Whether a process is gone or a zombie; otherwise waits a little."""
    with suppress(psutil.NoSuchProcess):
        if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)
            return False
    return True


def test_a_process_that_dies_loses_only_what_it_had_not_measured(forked):
    rows = dict(run_stage(plan_of(first=dict, deadly=lambda: os._exit(3), later=dict), SIZES, "cpu", seconds=60))
    assert "wall_seconds" in rows["first"]
    assert "exit code 3" in rows["deadly"]["failed"]
    assert rows["later"] == rows["deadly"]


def report_of(**measurements) -> dict:
    return {"tiny": False, "parts": {"2": {"measurements": measurements}}}


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({"x": 41.0}, "| 41       | reached"),
        ({"x": 39.5}, "| 39.5     | not reached"),
        ({"failed": "no memory"}, "| failed: no memory | not run"),
        ({"cut off": "late"}, "| cut off: late | not run"),
    ],
)
def test_the_table_compares_with_the_goals(row, status):
    goals = [Goal(2, "step", "x", 40), Goal(3, "other", "y", 5, at_least=False)]
    text = " ".join(table(report_of(step=row), goals).split())
    assert " ".join(status.split()) in text
    assert "| part 3 has not run | not run |" in text
    assert ("not measured" in text) == ("x" not in row)


def test_at_most():
    assert not Goal(3, "run", "seconds", 35, at_least=False).reached(36)
    assert Goal(3, "run", "seconds", 35, at_least=False).reached(35)


@pytest.fixture
def quick_parts(monkeypatch):
    """Two parts of one measurement each, whose number can be changed."""
    numbers = {"value": 1}
    plans = {
        1: [plan_of(a=lambda: {"x": numbers["value"]})],
        2: [plan_of(b=lambda: {"x": numbers["value"]})],
    }
    monkeypatch.setattr(gpu_acceptance, "PARTS", plans)
    monkeypatch.setattr(gpu_acceptance, "GOALS", [Goal(1, "a", "x", 1), Goal(2, "b", "x", 2)])
    monkeypatch.setattr(gpu_acceptance, "run_stage", run_here)
    monkeypatch.setattr(gpu_acceptance, "_origin", lambda _: {})
    return numbers


def run(out, *options: str) -> int:
    return gpu_acceptance.main(["--device", "cpu", "--out", str(out), *options])


def test_parts_of_several_calls_are_in_one_file(quick_parts, tmp_path, capsys):
    out = tmp_path / "new" / "results.json"
    assert run(out, "--part", "1") == 0
    quick_parts["value"] = 2
    assert run(out, "--part", "2") == 0
    parts = json.loads(out.read_text())["parts"]
    assert [parts[number]["measurements"][name]["x"] for number, name in (("1", "a"), ("2", "b"))] == [1, 2]
    before = out.read_bytes()
    capsys.readouterr()
    assert run(out, "--part") == 0
    assert "| part " in capsys.readouterr().out
    assert out.read_bytes() == before


def test_a_goal_that_is_missed_is_an_exit_code(quick_parts, tmp_path):
    assert run(tmp_path / "results.json", "--part", "2") == 1


def test_a_file_of_other_sizes_or_another_kind_is_refused(quick_parts, tmp_path, capsys):
    out = tmp_path / "results.json"
    run(out, "--part", "1")
    assert run(out, "--tiny") == 2
    assert_names(capsys.readouterr().err, str(out), "--tiny", "another name")
    for text in ("{", "[]", '{"parts": 3, "tiny": true}'):
        out.write_text(text)
        with pytest.raises(EffaceError, match="another name"):
            gpu_acceptance.read_report(out, tiny=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu(tmp_path, capsys):
    assert gpu_acceptance.main(["--out", str(tmp_path / "results.json")]) == 2
    assert "--tiny --device cpu" in capsys.readouterr().err


def test_gaps_between_kernels():
    rows = [
        Interval(0, 10, "a"),
        Interval(5, 20, "b"),
        Interval(12, 15, "c"),
        Interval(50, 60, "d"),
        Interval(64, 70, "e"),
    ]
    found = gaps(rows, 2)
    assert (found["kernels"], found["long_gaps"]) == (2.5, 0.5)
    assert found["busy_ms"] == pytest.approx((20 + 10 + 6) / 2e3)
    assert found["waiting_ms"] == pytest.approx((30 + 4) / 2e3)
    assert found["long_gaps_ms"] == pytest.approx(30 / 2e3)
    assert found["longest"] == [{"ms": pytest.approx(0.03), "after": "b", "before": "d"}]


def test_profiles_are_of_the_trainers_steps_after_the_first(small, monkeypatch):
    sizes = replace(SIZES, models=dict.fromkeys(SIZES.models, SMALL), batch_size=10)
    monkeypatch.setattr(timeline, "_WARM_UP", 2)
    row = timeline.of_1b(sizes, "cpu")["profile of 1B, IDK+AP"]()
    assert row["groups_ms"]["optimizer"] > 0
    assert row["busy_ms"] + row["waiting_ms"] == pytest.approx(sum(row["groups_ms"].values()), rel=0.05)
    assert row["busy_ms"] < 1e3 * row["seconds"]


def test_codes_are_the_nearest_of_the_table():
    table_ = torch.tensor([-1.0, -0.5, 0.0, 1.0])
    blocks = torch.tensor([[2.0, -2.0, 0.9, 1.1], [0.1, -0.1, -0.06, 0.02]])
    assert codes.nearest_codes(blocks, table_).tolist() == [3, 0, 2, 3, 3, 0, 1, 2]
    assert codes.share_that_differs(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 3, 5])) == 0.25


def test_without_bitsandbytes_codes_are_skipped(monkeypatch):
    monkeypatch.setattr(codes, "find_spec", lambda _: None)
    row = attempt(codes.of_weights_and_moments(SIZES, "cpu")["NF4 codes"])
    assert "bitsandbytes" in row["skipped"]


def test_counts_of_pytests_report(tmp_path):
    report = tmp_path / "junit.xml"
    with pytest.raises(RuntimeError):
        correctness.counts(report)
    report.write_text('<testsuites><testsuite tests="7" failures="1" errors="2" skipped="3"/></testsuites>')
    assert correctness.counts(report) == {"tests": 7, "failed_tests": 3, "skipped_tests": 3}
    assert "test_attention.py" in [path.name for path in correctness.gpu_test_files()]
