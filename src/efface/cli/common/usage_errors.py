"""An error of the command-line parser -> one sentence."""

from __future__ import annotations

import re

import typer

_REWORDED = (
    (re.compile(r": Value error, "), ": "),
    (re.compile(r"^Got unexpected extra argument\S* \((.+)\)$"), r"unexpected argument: \1"),
    (re.compile(r"\.? Did you mean (.+)\?$"), r", did you mean \1?"),
    (re.compile(r"option: (\S+)"), r"option '\1'"),
    (re.compile(r" \(Possible options: (.+)\)$"), r", did you mean \1?"),
)
"""Wording of typer -> wording of efface's other errors."""


def usage_message(error: typer.TyperException) -> str:
    """The error as one sentence, with a pointer to the command's help; typer itself would print several lines."""
    problem = " ".join(error.format_message().split()).removesuffix(".")
    for pattern, replacement in _REWORDED:
        problem = pattern.sub(replacement, problem)
    context = getattr(error, "ctx", None)  # only usage errors have one; typer does not export their class
    if context is not None and not problem.endswith("?"):
        problem += f"; see `{context.command_path} --help`"
    return problem[:1].lower() + problem[1:]
