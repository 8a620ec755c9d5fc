"""What is wrong with a command line, in one sentence."""

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
"""Typer's own words -> those of efface's other errors."""


def usage_sentence(error: typer.TyperException) -> str:
    """Turn an error of the parser, which prints several lines by itself, into a sentence like those of efface."""
    problem = " ".join(error.format_message().split()).removesuffix(".")
    for pattern, words in _REWORDED:
        problem = pattern.sub(words, problem)
    context = getattr(error, "ctx", None)  # of usage errors alone, which typer does not export
    if context is not None and not problem.endswith("?"):
        problem += f"; see `{context.command_path} --help`"
    return problem[:1].lower() + problem[1:]
