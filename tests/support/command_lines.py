"""The command line's parser, to check command lines in documentation without running them."""

from __future__ import annotations

from typing import Any

import typer.main

from efface.cli import app

PARSER: Any = typer.main.get_command(app)


def resolve(words: list[str]) -> tuple[str, Any, list[str]]:
    """Name and parser of the command that `words` call, and its arguments."""
    command, name = PARSER, "efface"
    while words and words[0] in getattr(command, "commands", {}):
        name, words = words[0], words[1:]
        command = command.commands[name]
    return name, command, words
