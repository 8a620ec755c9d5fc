"""Help, examples, version, and how the command ends."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import efface as package
from efface.cli import app
from efface.config.presets import (
    data_inspection_config,
    evaluation_config,
    finetune_config,
    preset_names,
    resolved,
    run_config,
)
from efface.data.sources.published import published_benchmarks

Command = Callable[..., subprocess.CompletedProcess[str]]
ROOT: Any = typer.main.get_command(app)
CONFIGS: dict[str, Callable[..., object]] = {
    "run": run_config,
    "unlearn": run_config,
    "doctor": run_config,
    "finetune": finetune_config,
    "evaluate": evaluation_config,
    "check": data_inspection_config,
    "describe": data_inspection_config,
}
"""Command -> what reads its settings."""


def commands(group: Any, *path: str) -> Iterator[list[str]]:
    """The words of every command, groups included."""
    yield list(path)
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *path, name)


def examples_of(command: Any) -> list[list[str]]:
    """The words of each example in a command's help, without what a shell would take for itself."""
    lines = [line.strip() for line in (command.epilog or "").splitlines()]
    words = [shlex.split(line) for line in lines if line.startswith("efface ")]
    return [each[1 : each.index(">") if ">" in each else None] for each in words]


def found(words: list[str]) -> tuple[str, Any, list[str]]:
    """Name and parser of the command that words call, and the words left to it."""
    command, name = ROOT, "efface"
    while words and words[0] in getattr(command, "commands", {}):
        name, words = words[0], words[1:]
        command = command.commands[name]
    return name, command, words


@pytest.mark.parametrize("path", [*commands(ROOT)], ids=" ".join)
def test_help_has_examples(efface: Command, path: list[str]) -> None:
    ran = efface(*path, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"Usage: {' '.join(['efface', *path])} " in ran.stdout
    assert "Examples:\n    efface " in ran.stdout
    assert ran.stdout == efface(*path, "-h").stdout


@pytest.mark.parametrize("path", [*commands(ROOT)], ids=" ".join)
def test_examples_parse_and_their_settings_exist(path: list[str]) -> None:
    *_, command, _ = found(path)
    examples = examples_of(command)
    assert examples
    for example in examples:
        name, called, words = found(example)
        if called is ROOT:  # it would be done at once
            assert any(words[0] in parameter.opts for parameter in ROOT.params)
            continue
        parameters = called.make_context(name, list(words)).params
        given = [str(word) for word in parameters.get("settings") or ()]
        source = given.pop(0) if given and "=" not in given[0] else None
        if source is not None and not source.endswith(".yaml"):
            assert source in preset_names()
        if name == "presets" and source is not None:
            assert resolved(source, given)
        if name in CONFIGS and (source is None or source in preset_names()) and (source or given):
            CONFIGS[name](source, given)
        assert set(parameters.get("names") or ()) <= {"all", *published_benchmarks()}


def test_every_command_is_in_the_help(efface: Command) -> None:
    words = efface("--help").stdout.split()
    shown = "run unlearn evaluate score report leaderboard chat finetune sweep demo data presets push doctor"
    assert set(shown.split()) <= set(words)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["data", "fetch", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import atexit, sys; from efface.cli import main;"
        "atexit.register(lambda: print(sorted({'torch', 'transformers', 'rich', 'yaml'} & set(sys.modules))));"
        f"sys.argv = ['efface', *{arguments}]; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_version(efface: Command) -> None:
    assert efface("--version").stdout == f"{package.__version__}\n"


@pytest.mark.parametrize("path", [[], ["data"]])
def test_no_command_shows_the_help(efface: Command, path: list[str]) -> None:
    ran = efface(*path)
    assert (ran.returncode, ran.stderr) == (2, "")
    assert ran.stdout == efface(*path, "--help").stdout


def test_interrupt_of_what_leaves_nothing_is_quiet(efface: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("efface.scores.score_path", interrupted)
    ran = efface("score", "log.json")
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize(
    "arguments", [["presets"], ["presets", "demo"], ["data", "describe", "data=synthetic-authors"]]
)
def test_reader_of_a_pipe_that_goes_away(arguments: list[str], tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "efface", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1
