"""Render a chat template in a process of its own, under limits of time, memory and output.

A template comes with a model and is a program. jinja2's sandbox keeps it from everything outside, but not from loops of
10^10 steps or texts of gigabytes, which may depend on the conversation. So no template is rendered in this process.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.text import template_child

_MAX_CHARACTERS = 200_000
"""Of a template; those of published models have up to 20,000."""


class TemplateFailedError(Exception):
    """A chat template raised an error: it rejects a conversation, or is wrong."""


class TemplateRenderer:
    """Renders a chat template in a child process, which starts with the first conversation.

    Args:
        template: The text of the template.
        variables: What it gets beside the messages, as values of JSON.

    Raises:
        EffaceError: It is longer than 200,000 characters.
    """

    def __init__(self, template: str, variables: Mapping[str, Any]) -> None:
        if len(template) > _MAX_CHARACTERS:
            raise EffaceError(
                f"the tokenizer's chat template has {len(template):,} characters, the limit is {_MAX_CHARACTERS:,}; "
                "set text.format to a string instead"
            )
        self._task = _line({"template": template, "variables": variables})
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._exceeds_limits = False

    def render(self, messages: Sequence[Mapping[str, str]], *, generation: bool) -> str:
        """Render one conversation.

        Args:
            messages: `role` and `content` of each turn.
            generation: Whether to write the start of an answer after it.

        Returns:
            The text.

        Raises:
            TemplateFailedError: The template raised an error.
            EffaceError: It takes too much time or memory, or writes too much; also of all later calls.
        """
        with self._lock:
            answer = self._ask(_line({"messages": messages, "generation": generation}))
        if answer["error"] is not None:
            raise TemplateFailedError(answer["error"])
        return str(answer["text"])

    def _ask(self, request: bytes) -> dict[str, Any]:
        answer = b""
        if not self._exceeds_limits:
            if self._child is None or not self._child.is_of_this_process():
                self._child = _Child(self._task)
            try:
                answer = self._child.ask(request)
            finally:
                if not answer:  # it ended, or an interrupted question would be answered in place of the next
                    self._child.end()
                    self._child = None
        if not answer:
            self._exceeds_limits = True
            raise EffaceError(
                f"the tokenizer's chat template needs more than {template_child.CPU_SECONDS} s or "
                f"{template_child.MEMORY_MIB} MiB, or writes more than {template_child.MAX_OUTPUT:,} characters around "
                "a conversation; set text.format to a string instead"
            )
        found: dict[str, Any] = json.loads(answer)
        return found


@functools.lru_cache(maxsize=4)
def _shared(template: str, variables: str) -> TemplateRenderer:
    return TemplateRenderer(template, json.loads(variables))


def template_renderer(tokenizer: Any, template: str, **variables: Any) -> TemplateRenderer:
    """The renderer of a template, which gets what transformers gives it; the same for the same template and variables.

    Args:
        tokenizer: of transformers, whose special tokens are variables.
        template: The text of its template.
        **variables: More of them, such as `enable_thinking`.

    Raises:
        EffaceError: As `TemplateRenderer`.
    """
    given = {"tools": None, "documents": None, **tokenizer.special_tokens_map, **variables}
    return _shared(template, json.dumps(given, sort_keys=True))


class _Child:
    """A running child process; it ends with the last reference to it, or with this process."""

    def __init__(self, task: bytes) -> None:
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(template_child.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # where jinja2 is
            start_new_session=True,  # Ctrl-C in a terminal is for this process, which may go on for a while
        )
        self.end = weakref.finalize(self, _end, self._process, self._owner)
        self._task = task

    def is_of_this_process(self) -> bool:
        """Whether it is no copy that a fork made: two processes cannot share the pipes."""
        return self._owner == os.getpid()

    def ask(self, request: bytes) -> bytes:
        """The answer to a conversation; empty if the child has ended."""
        task, self._task = self._task, b""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(task + request)
            self._process.stdin.flush()
        except OSError:
            return b""
        answer = self._process.stdout.readline()
        return answer if answer.endswith(b"\n") else b""


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if owner != os.getpid():
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not sent
                pipe.close()


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
