"""Refuse a chat template that runs without end or fills the memory, before this process runs it.

A template comes with a model and is a program. jinja2's sandbox keeps it from everything outside, but not from loops of
10^10 steps or texts of gigabytes. So a child process, which may use a few seconds and some memory, runs it first.
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.text import template_child

_MAX_CHARACTERS = 200_000
"""Of a template; those of published models have up to 20,000."""
_SECONDS = 60
"""Until the child is stopped: its own limit is of processor time, which takes longer where many programs run."""
_CONVERSATIONS: list[list[dict[str, str]]] = [
    [{"role": role, "content": role} for role in roles]
    for roles in (
        ["user"],
        ["user", "assistant"],
        ["system", "user"],
        ["user", "assistant", "user", "assistant", "user"],
    )
]


@functools.lru_cache(maxsize=16)
def check_template(template: str, variables: tuple[tuple[str, Any], ...] = ()) -> None:
    """Render a template for short conversations in a child process with limits.

    Args:
        template: The text of a chat template. One that raises an error passes: that is no danger.
        variables: Names and values that it gets beside the messages.

    Raises:
        EffaceError: It is longer than 200,000 characters, or takes too much time or memory, or writes too much.
    """
    if len(template) > _MAX_CHARACTERS:
        raise EffaceError(
            f"the tokenizer's chat template has {len(template):,} characters, the limit is {_MAX_CHARACTERS:,}; "
            "set text.format to a string instead"
        )
    task = {"template": template, "conversations": _CONVERSATIONS, "variables": dict(variables)}
    child = [sys.executable, "-I", str(Path(template_child.__file__))]
    try:
        code = subprocess.run(
            child, input=json.dumps(task).encode(), timeout=_SECONDS, capture_output=True, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        code = template_child.TOO_LONG
    if code in (template_child.TOO_LONG, -signal.SIGKILL, -getattr(signal, "SIGXCPU", signal.SIGKILL)):
        raise EffaceError(
            f"the tokenizer's chat template needs more than {template_child.CPU_SECONDS} s or "
            f"{template_child.MEMORY_MIB} MiB, or writes more than {template_child.MAX_OUTPUT:,} characters around a "
            "short question; set text.format to a string instead"
        )
