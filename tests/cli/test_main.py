"""The command as a whole: help, examples, version, exit codes, how errors are shown."""

from __future__ import annotations

import errno
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import efface as package
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.data_commands import DataInspectionConfig
from efface.config.presets import preset_names
from efface.config.resolve import preset_to_yaml, resolve_config
from efface.data.sources.benchmarks.published import published_benchmarks
from support.command_lines import PARSER, resolve
from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]
CONFIGS: dict[str, Any] = {
    "run": RunConfig,
    "unlearn": RunConfig,
    "doctor": RunConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluationConfig,
    "check": DataInspectionConfig,
}
"""Command -> its settings."""


def commands(group: Any, *path: str) -> Iterator[list[str]]:
    """The names of every command, groups included."""
    yield list(path)
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *path, name)


def examples_of(command: Any) -> list[list[str]]:
    """The arguments of each example in a command's help, without redirections of the shell."""
    lines = [line.strip() for line in (command.epilog or "").splitlines()]
    words = [shlex.split(line) for line in lines if line.startswith("efface ")]
    return [each[1 : each.index(">") if ">" in each else None] for each in words]


@pytest.mark.parametrize("path", [*commands(PARSER)], ids=" ".join)
def test_help_has_examples(efface: Command, path: list[str]) -> None:
    ran = efface(*path, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"Usage: {' '.join(['efface', *path])} " in ran.stdout
    assert "Examples:\n    efface " in ran.stdout
    assert ran.stdout == efface(*path, "-h").stdout


@pytest.mark.parametrize("path", [*commands(PARSER)], ids=" ".join)
def test_examples_parse_and_their_settings_exist(path: list[str]) -> None:
    *_, command, _ = resolve(path)
    examples = examples_of(command)
    assert examples
    for example in examples:
        name, called, words = resolve(example)
        if called is PARSER:  # options such as --version act while they are parsed
            assert any(words[0] in parameter.opts for parameter in PARSER.params)
            continue
        parameters = called.make_context(name, list(words)).params
        given = [str(word) for word in parameters.get("settings") or ()]
        source = given.pop(0) if given and "=" not in given[0] else None
        if source is not None and not source.endswith((".yaml", ".csv")):
            assert source in preset_names()
        if name == "presets" and source is not None:
            assert preset_to_yaml(source, given)
        if name in CONFIGS and (source is None or source in preset_names()) and (source or given):
            resolve_config(CONFIGS[name], source, given)
        assert set(parameters.get("names") or ()) <= {"all", *published_benchmarks()}


def test_every_command_is_in_the_help(efface: Command) -> None:
    words = efface("--help").stdout.split()
    assert {"run", "unlearn", "evaluate", "score", "report", "chat", "data"} <= set(PARSER.commands) <= set(words)


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


@pytest.mark.parametrize("arguments", [["presets"], ["presets", "demo"], ["data", "check", "data=synthetic-authors"]])
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


# Errors


@pytest.mark.parametrize(
    "arguments",
    [["--debug", "score", "none.json"], ["score", "none.json", "--debug"], ["score", "--debug", "none.json"]],
)
def test_debug_shows_the_traceback(efface: Command, arguments: list[str]) -> None:
    ran = efface(*arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith("Traceback")
    assert ran.stderr.splitlines()[-1].startswith("efface: none.json")


def test_an_error_of_the_system_is_one_sentence(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere/file")

    monkeypatch.setattr("efface.scores.score_path", full)
    assert_names(refused("score", "log.json"), "somewhere/file: No space left on device", "free space")


def test_messages_have_no_control_characters(refused: Callable[..., str]) -> None:
    sentence = refused("score", "\x1b[2Jnone\n.json")
    assert "\x1b" not in sentence


def test_a_command_for_one_process_refuses_several(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert_names(refused("score", "log.json"), "efface score", "torchrun", "evaluate, finetune, run, unlearn")


def test_only_rank_0_prints(efface: Command, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("sys.stdout", sys.stdout)  # put back afterwards
    ran = efface("run", "mine.yaml", "trian.lr=1", "--out", "out")
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", "")


def test_an_error_in_another_process_alone_is_printed(
    efface: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Had rank 0 failed too, torchrun would have ended this process while it waits."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    monkeypatch.setattr("sys.stdout", sys.stdout)  # put back afterwards
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    ran = efface("run", "mine.yaml", "trian.lr=1", "--out", "out")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert_names(ran.stderr, "trian.lr", "train.lr")
    assert waited[0] > 1
