"""Any error -> one sentence for the user."""

from __future__ import annotations

import os
import re
import tempfile
import traceback

import typer

from efface.errors import EffaceError, summarize_error
from efface.renamed import COMMANDS

_REWORDED = (
    (re.compile(r": Value error, "), ": "),
    (re.compile(r"^Got unexpected extra argument\S* \((.+)\)$"), r"unexpected argument: \1"),
    (re.compile(r"\.? Did you mean (.+)\?$"), r", did you mean \1?"),
    (re.compile(r"option: (\S+)"), r"option '\1'"),
    (re.compile(r" \(Possible options: (.+)\)$"), r", did you mean \1?"),
)
"""Wording of typer -> wording of efface's other errors."""


_OPTIONS_OF_OTHERS = {
    "learning_rate": ["train.lr"],
    "model_name_or_path": ["model"],
    "num_train_epochs": ["train.epochs"],
    "per_device_train_batch_size": ["train.batch_size"],
    "output_dir": ["--out"],
}
"""Options of transformers' training scripts -> settings."""
_COMMANDS_OF_OTHERS = {
    "compare": "leaderboard",
    "eval": "evaluate",
    "forget": "run",
    "serve": "chat",
    "download": "data fetch",
    "train": "finetune",
}
"""What somebody may type -> the command."""


def error_message(error: Exception) -> str:
    """The sentence that the command prints about an error.

    Args:
        error: Any; an error that is neither the user's nor the machine's is a bug, whose traceback is stored in a file.

    Returns:
        One sentence: what is wrong, where, and what to do.
    """
    match error:
        case typer.TyperException():
            return _usage_message(error)
        case EffaceError():
            return str(error)
        case OSError():
            return _system_message(error)
        case _:
            return (
                f"this is a bug in efface ({summarize_error(error)}); please report it with the file "
                f"{_store_traceback(error)}, which has the details"
            )


def _usage_message(error: typer.TyperException) -> str:
    """The error as one sentence, with a pointer to the command's help; typer itself would print several lines."""
    problem = " ".join(error.format_message().split()).removesuffix(".")
    for pattern, replacement in _REWORDED:
        problem = pattern.sub(replacement, problem)
    context = getattr(error, "ctx", None)  # only usage errors have one; typer does not export their class
    if _takes_settings(context) and (setting := _setting_of(problem)):
        return setting
    if unknown := re.match(r"No such command '([\w-]+)'", problem):
        old = f"{getattr(context, 'command_path', 'efface')} {unknown[1]}"
        if new := COMMANDS.get(old):
            return f"{old} is now called {new}"
        if other := _COMMANDS_OF_OTHERS.get(unknown[1]):
            return f"no such command '{unknown[1]}'; use efface {other}, or see `efface --help`"
    if context is not None and not problem.endswith("?"):
        problem += f"; see `{context.command_path} --help`"
    return problem[:1].lower() + problem[1:]


def _takes_settings(context: typer.Context | None) -> bool:
    parameters = () if context is None else context.command.params
    return any("KEY=VALUE" in (getattr(each, "metavar", None) or "") for each in parameters)


def _setting_of(problem: str) -> str | None:
    """How to write a setting that was given as an option: `--model X` is `model=X`."""
    match = re.match(r"No such option '--([A-Za-z][\w.-]*)'", problem)
    if match is None:
        return None
    from efface.config.commands import RunConfig
    from efface.config.parse import dotted_keys

    given = match[1].replace("-", "_")
    keys = list(dotted_keys(RunConfig))
    exact = [key for key in keys if key == given] or [key for key in keys if key.endswith(f".{given}")]
    exact = exact or _OPTIONS_OF_OTHERS.get(given, [])
    if not exact:
        return None
    return (
        f"--{match[1]} is not an option; settings are key=value: write {' or '.join(f'{key}=...' for key in exact[:2])}"
    )


def _system_message(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    location = f"{error.filename}: " if error.filename else ""
    return f"{location}{error.strerror}; check the path, its permissions and the free space"


def _store_traceback(error: Exception) -> str:
    """Write the traceback to a file that only this user can read; returns its path."""
    descriptor, path = tempfile.mkstemp(prefix="efface-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("".join(traceback.format_exception(error)))
    return path
