"""`efface push`: what it prints and asks before anything is uploaded."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pushed(place: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The folder of a model, `mine`, in the working directory; the list of what would have been pushed."""
    shutil.copytree(model, place / "mine")
    (place / "mine" / "secret.txt").write_text("not for the hub")
    calls: list[dict[str, Any]] = []

    def push(folder: Path, repo: str, **settings: object) -> str:
        calls.append({"folder": str(folder), "repo": repo, **settings})
        return f"https://hub.example/{repo}"

    monkeypatch.setattr("efface.commands.push.push", push)
    return calls


@pytest.fixture
def confirm(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Run in a terminal and answer the prompt."""

    def reply(yes: bool) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("typer.confirm", lambda _: yes)

    return reply


def test_prints_what_is_uploaded_where(efface: Command, pushed: list[dict[str, Any]]) -> None:
    ran = efface("push", "mine", "ada/forgot", "--yes")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, *files, last = ran.stdout.splitlines()
    assert first.startswith("to upload to ada/forgot (private if it is new), ")
    names = {line.split()[0] for line in files}
    assert {"mine/config.json", "mine/model.safetensors", "mine/tokenizer.json"} <= names
    assert "mine/secret.txt" not in names
    assert last == "pushed: https://hub.example/ada/forgot"
    private = {"private": True, "adapter": False, "revision": None}
    assert pushed == [{"folder": "mine", "repo": "ada/forgot", **private}]


def test_dry_run_prints_the_same_and_uses_no_network(
    efface: Command, pushed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("connects to the network")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    ran = efface("push", "mine", "ada/forgot", "--dry-run", "--revision", "v2")
    assert (ran.returncode, ran.stderr, pushed) == (0, "", [])
    *plan, last = ran.stdout.splitlines()
    assert plan == efface("push", "mine", "ada/forgot", "--revision", "v2", "--yes").stdout.splitlines()[:-1]
    assert_names(last, "nothing was pushed", "/ada/forgot/tree/v2")


def test_dry_run_refuses_what_the_hub_would(refused: Callable[..., str], pushed: list[dict[str, Any]]) -> None:
    assert_names(refused("push", "mine", "forgot", "--dry-run"), "'forgot'", "owner/name")
    assert pushed == []


def test_options_reach_the_hub(efface: Command, pushed: list[dict[str, Any]]) -> None:
    ran = efface("push", "mine", "ada/forgot", "--public", "--revision", "v2", "-y")
    assert ran.stdout.splitlines()[0].startswith("to upload to ada/forgot, branch v2 (public), ")
    assert (pushed[0]["private"], pushed[0]["revision"]) == (False, "v2")


def test_asks_first(efface: Command, pushed: list[dict[str, Any]], confirm: Callable[[bool], None]) -> None:
    confirm(False)
    ran = efface("push", "mine", "ada/forgot")
    assert (ran.returncode, ran.stdout.splitlines()[-1], pushed) == (1, "nothing was pushed", [])
    confirm(True)
    assert efface("push", "mine", "ada/forgot").returncode == 0
    assert len(pushed) == 1


def test_without_a_terminal_it_needs_yes(
    refused: Callable[..., str], pushed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert_names(refused("push", "mine", "ada/forgot"), "nothing was pushed", "terminal", "--yes")
    assert pushed == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nowhere", "ada/forgot"], ["nowhere"]),
        (["mine", "ada/forgot", "--adapter"], ["adapter_config.json"]),
    ],
)
def test_refused_before_asking(
    refused: Callable[..., str], pushed: list[dict[str, Any]], arguments: list[str], parts: list[str]
) -> None:
    assert_names(refused("push", *arguments), *parts)
    assert pushed == []


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("repo", "parts"), [("ada/forgot", ["token"]), ("forgot", ["'forgot'", "owner/name"])])
def test_refused_by_the_hub(refused: Callable[..., str], place: Path, model: Path, repo: str, parts: list[str]) -> None:
    shutil.copytree(model, place / "mine")
    assert_names(refused("push", "mine", repo, "--yes"), *parts)
