"""`efface schema`: one JSON object on standard output."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("arguments", "has", "has_not"),
    [((), "method", "weights"), (("finetune",), "without", "method"), (("evaluate",), "weights", "without")],
)
def test_one_object(efface: Command, arguments: tuple[str, ...], has: str, has_not: str) -> None:
    ran = efface("schema", *arguments)
    assert ran.returncode == 0
    properties = json.loads(ran.stdout)["properties"]
    assert has in properties
    assert has_not not in properties


def test_other_commands_are_refused(efface: Command) -> None:
    ran = efface("schema", "chat")
    assert ran.returncode == 2
    assert_names(ran.stderr, "chat", "finetune")
