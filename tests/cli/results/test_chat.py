"""`efface chat`."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from efface.chat.server import ChatServer
from support.unlearned import changed_copy, load_golden, write_unlearned_run

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return write_unlearned_run(tmp_path / "run", changed_copy(load_golden()))


def test_chats_in_the_terminal(efface: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["1", "/tokens"])

    def read(_: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    ran = efface("chat", str(run_folder), "--terminal", "--device", "cpu")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "loading the model after" in ran.stdout
    assert "reference answer: " in ran.stdout
    assert "after: likely next tokens" in ran.stdout


def test_serves_a_page_until_ctrl_c(efface: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = []

    def interrupted(server: ChatServer) -> None:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        with urllib.request.urlopen(f"{server.url}run", timeout=120) as answer:
            facts.append(json.load(answer))
        answering.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(ChatServer, "serve_forever", interrupted)
    ran = efface("chat", str(run_folder), "--device", "cpu", "--seed", "3")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(r"chat: http://127\.0\.0\.1:\d+/[\w-]{32}/ \(Ctrl-C ends it\)", ran.stdout.splitlines()[-1])
    assert (facts[0]["max_new_tokens"], facts[0]["seed"]) == (5, 3)
    assert facts[0]["facts"].startswith(str(run_folder))
    assert ran.stdout.count("\n") == 3


def test_a_folder_without_a_run(efface: Command, tmp_path: Path) -> None:
    ran = efface("chat", str(tmp_path))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"efface: {tmp_path} has no config.yaml")
    assert ran.stderr.count("\n") == 1
