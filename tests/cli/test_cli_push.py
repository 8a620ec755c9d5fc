"""The command push: what it says and asks before anything leaves the machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pushed(place: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A model's folder `mine` in the working directory; what would have been pushed is listed here."""
    shutil.copytree(model, place / "mine")
    (place / "mine" / "secret.txt").write_text("not for the hub")
    calls: list[dict[str, Any]] = []

    def push(folder: Path, repo: str, **settings: object) -> str:
        calls.append({"folder": str(folder), "repo": repo, **settings})
        return f"https://hub.example/{repo}"

    monkeypatch.setattr("efface.commands.push.push", push)
    return calls


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Sit at a terminal and answer the question."""

    def sit(yes: bool) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("typer.confirm", lambda _: yes)

    return sit


def test_says_what_goes_where(efface: Command, pushed: list[dict[str, Any]]) -> None:
    ran = efface("push", "mine", "ada/forgot", "--yes")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, *files, last = ran.stdout.splitlines()
    assert first.endswith("go to ada/forgot, private if it is new:")
    names = {line.split()[0] for line in files}
    assert {"mine/config.json", "mine/model.safetensors", "mine/tokenizer.json"} <= names
    assert "mine/secret.txt" not in names
    assert last == "pushed: https://hub.example/ada/forgot"
    private = {"private": True, "adapter": False, "revision": None}
    assert pushed == [{"folder": "mine", "repo": "ada/forgot", **private}]


def test_options_reach_the_hub(efface: Command, pushed: list[dict[str, Any]]) -> None:
    ran = efface("push", "mine", "ada/forgot", "--public", "--revision", "v2", "-y")
    assert ran.stdout.splitlines()[0].endswith("go to ada/forgot, branch v2, for everyone to see:")
    assert (pushed[0]["private"], pushed[0]["revision"]) == (False, "v2")


def test_asks_first(efface: Command, pushed: list[dict[str, Any]], answer: Callable[[bool], None]) -> None:
    answer(False)
    ran = efface("push", "mine", "ada/forgot")
    assert (ran.returncode, ran.stdout.splitlines()[-1], pushed) == (1, "nothing was pushed", [])
    answer(True)
    assert efface("push", "mine", "ada/forgot").returncode == 0
    assert len(pushed) == 1


def test_without_a_terminal_it_must_be_told_yes(
    refused: Callable[..., str], pushed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert refused("push", "mine", "ada/forgot") == (
        "nothing was pushed, as there is no terminal to ask; say --yes to push without asking"
    )
    assert pushed == []


def test_what_cannot_be_pushed_is_refused_before_asking(
    refused: Callable[..., str], pushed: list[dict[str, Any]]
) -> None:
    assert "there is no folder nowhere" in refused("push", "nowhere", "ada/forgot")
    assert "has no adapter_config.json" in refused("push", "mine", "ada/forgot", "--adapter")
    assert pushed == []


@pytest.mark.usefixtures("hub")
def test_the_hub_needs_a_token(refused: Callable[..., str], place: Path, model: Path) -> None:
    shutil.copytree(model, place / "mine")
    assert "the hub needs a token to push" in refused("push", "mine", "ada/forgot", "--yes")
    assert "'forgot' is not a repository name; give owner/name" in refused("push", "mine", "forgot", "--yes")
