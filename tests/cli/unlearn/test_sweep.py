"""`efface sweep`: what it prints, writes and returns."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.errors import EffaceError
from support.messages import assert_names

MODEL = Path(__file__).parents[2] / "golden" / "model"
Command = Callable[..., subprocess.CompletedProcess[str]]

SPEC: dict[str, Any] = {
    "target": {
        "preset": "demo",
        "model": str(MODEL),
        "data": {"authors": 2, "forget_authors": 1},
        "train": {"epochs": 1, "batch_size": 20, "warmup_steps": 0},
        "device": "cpu",
    },
    "settings": {
        "preset": "demo",
        "data": {"authors": 2, "forget_authors": 1, "retain_evaluation": 2},
        "train": {"epochs": 1, "batch_size": 10, "warmup_steps": 0},
        "evaluate": {"embedder": "none", "max_new_tokens": 3, "limit": 2},
        "device": "cpu",
    },
    "grid": {"method": ["me+gd", "ga+gd"], "seed": [0, 1]},
    "baselines": ["random"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a spec."""
    place = tmp_path_factory.mktemp("sweep")
    (place / "sweep.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    return place


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def done(efface: Command, here: Path) -> str:
    """What the sweep printed; it runs once."""
    log = here / "log"
    if not log.exists():
        ran = efface("sweep", "sweep.yaml", "--out", "all")
        assert (ran.returncode, ran.stderr) == (0, "")
        log.write_text(ran.stdout)
    return log.read_text()


def test_dry_run_lists_what_would_be_made(efface: Command, here: Path) -> None:
    ran = efface("sweep", "sweep.yaml", "--out", "nothing", "--dry-run")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not Path("nothing").exists()
    assert [line.strip() for line in ran.stdout.splitlines()] == [
        "Dry run: nothing was trained or written",
        "in all: 4 runs: 4 to do",
        "to do: target",
        "to do: method=me+gd seed=0",
        "to do: method=me+gd seed=1",
        "to do: method=ga+gd seed=0",
        "to do: method=ga+gd seed=1",
        "to do: random",
    ]


def test_sweep_prints_one_table(done: str, here: Path) -> None:
    lines = done.splitlines()
    assert "• 4 runs, 0 of them done already" in lines
    assert "• run 3 of 4: method=ga+gd seed=0" in lines
    assert sum(line.startswith("Partial scores (closer-look)") for line in lines) == 1
    table = lines[lines.index("• baseline random") + 1 :]
    rows = [line.split()[0] for line in table if line.rstrip().endswith((" 1", " 2"))]
    assert rows == ["before", "random", "me+gd", "ga+gd"]
    assert lines[-2:] == ["runs: all/runs.jsonl", "table: all/table.json"]


@pytest.mark.usefixtures("done")
def test_again_there_is_nothing_to_do(efface: Command) -> None:
    ran = efface("sweep", "sweep.yaml", "--out", "all", "--json")
    assert ran.returncode == 0
    assert ran.stderr == "• 4 runs, 4 of them done already\n"
    assert json.loads(ran.stdout) == json.loads(Path("all/table.json").read_text())
    assert [run["status"] for run in json.loads(ran.stdout)["runs"]] == ["finished"] * 4


@pytest.mark.usefixtures("done")
def test_dry_run_tells_what_is_done(efface: Command) -> None:
    ran = efface("sweep", "sweep.yaml", "train.epochs=2", "--out", "all", "--dry-run", "--json")
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["target"]["state"]) == (0, "done")
    assert [run["state"] for run in found["runs"]] == ["to do"] * 4
    assert [line["state"] for line in found["baselines"]] == ["done"]
    ran = efface("sweep", "sweep.yaml", "--out", "all", "--dry-run")
    assert "  in all: 4 runs: 4 done" in ran.stdout.splitlines()
    (first,) = [line for line in ran.stdout.splitlines() if "method=me+gd seed=0" in line]
    assert first.startswith("  done: method=me+gd seed=0: all/runs/me+gd-")


@pytest.mark.usefixtures("done")
def test_failed_runs_end_with_1(efface: Command, here: Path) -> None:
    shutil.copytree("all", "some")
    Path("some.yaml").write_text(yaml.safe_dump({**SPEC, "grid": {"train.lr": [1e30]}, "baselines": []}))
    ran = efface("sweep", "some.yaml", "method=me+gd", "--out", "some")
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "failed: method=me+gd train.lr=1e+30: step 2 of 2: me+gd is not finite" in ran.stdout


@pytest.mark.usefixtures("here")
def test_interrupted(efface: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("efface.sweep.sweep.finetune", interrupted)
    ran = efface("sweep", "sweep.yaml", "--out", "interrupted")
    assert (ran.returncode, ran.stderr) == (130, "efface: interrupted; continue with the same command\n")
    monkeypatch.setattr("efface.sweep.dry_run.SweepPlan", interrupted)
    ran = efface("sweep", "sweep.yaml", "--out", "interrupted", "--dry-run")
    assert (ran.returncode, ran.stderr) == (130, "efface: interrupted; nothing was written\n")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["none.yaml"], ["none.yaml", "No such file or directory"]),
        (["sweep.yaml", "seed=3"], ["sweep.yaml", "seed", "grid", "settings"]),
        (["sweep.yaml", "train.lrr=3"], ["'train.lrr'", "'train.lr'"]),
        (["sweep.yaml", "demo"], ["'demo'", "key=value"]),
        (["sweep.yaml", "evaluate.judge=nobody"], ["evaluate.judge=nobody"]),
    ],
)
def test_refused(efface: Command, arguments: list[str], parts: list[str]) -> None:
    for flags in ([], ["--dry-run"]):
        ran = efface("sweep", *arguments, "--out", "refused", *flags)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith("efface: ")
        assert_names(ran.stderr, *parts)
        assert ran.stderr.count("\n") == 1
        assert not Path("refused").exists()


def test_completion_offers_settings_and_no_presets() -> None:
    import typer.main

    from efface.cli import app
    from efface.cli.common import completion

    command: Any = typer.main.get_command(app)
    context = command.commands["sweep"].make_context("sweep", ["sweep.yaml", "--out", "all"])
    offered = completion.pairs(context, "")
    assert {"train.lr=", "method="} < set(offered)
    assert "demo" not in offered
    assert completion.pairs(context, "device=") == ["device=auto", "device=cpu", "device=cuda"]


def test_processes(efface: Command, here: Path, monkeypatch: pytest.MonkeyPatch):
    given = []

    def refuse(*_: Any, processes: int, **__: Any) -> None:
        given.append(processes)
        raise EffaceError("stop")

    monkeypatch.setattr("efface.sweep.sweep.sweep", refuse)
    for options in ([], ["--processes", "3"]):
        assert efface("sweep", "sweep.yaml", "--out", "other", *options).returncode == 2
    assert given == [1, 3]
    assert_names(efface("sweep", "sweep.yaml", "--out", "other", "--processes", "0").stderr, "--processes")
