"""The child process of `template_renderer`: renders a chat template under limits. Imports jinja2 and nothing of efface.

Standard input has a line of JSON with the template and its variables, then one for each conversation; each of those
is answered on standard output by a line with the text or an error. At a limit the process ends without an answer.
"""

import contextlib
import faulthandler
import json
import math
import random
import signal
import sys
from collections.abc import Callable
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

CPU_SECONDS = 2
"""For one conversation, and `SECONDS_PER_MESSAGE` more for each of its messages."""
SECONDS_PER_MESSAGE = 0.005
"""For all conversations together, on average; published templates take less than a thousandth of a second."""
WALL_SECONDS = 60
"""For one conversation: processor time takes longer where many programs run, and Windows does not limit it."""
MEMORY_MIB = 512
MAX_OUTPUT = 100_000
"""Characters that a template may write around a short conversation."""
OUTPUT_PER_MESSAGE, OUTPUT_PER_CHARACTER = 1000, 10
"""How many more it may write for each message, and for each of its characters."""
TOO_LONG = 70
_ERROR_CHARACTERS = 300


class _Limits:
    """What the process may use. Windows has none of these: there, only `WALL_SECONDS` hold."""

    def __init__(self) -> None:
        self._messages = 0
        with contextlib.suppress(ImportError, OSError, ValueError):
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MIB * 2**20, MEMORY_MIB * 2**20))
        self._started = self._used()

    def allow(self, messages: int) -> None:
        """Allow processor time for a conversation of so many messages."""
        faulthandler.dump_traceback_later(WALL_SECONDS, exit=True)
        self._messages += messages
        most = self._used() + CPU_SECONDS + messages * SECONDS_PER_MESSAGE
        on_average = self._started + CPU_SECONDS + self._messages * SECONDS_PER_MESSAGE
        with contextlib.suppress(ImportError, OSError, ValueError):
            import resource

            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(min(most, on_average)), hard))

    @staticmethod
    def _used() -> float:
        with contextlib.suppress(ImportError):
            import resource

            usage = resource.getrusage(resource.RUSAGE_SELF)
            return usage.ru_utime + usage.ru_stime
        return 0.0


# The environment of transformers


class _Generation(Extension):
    """`{% generation %}`, which marks what the assistant says and writes nothing."""

    tags = {"generation"}  # noqa: RUF012 - no ClassVar in jinja2

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller: Callable[[], str]) -> str:
        return caller()


class _Namespace(Namespace):
    """Without names that Python itself uses."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *positional = args
        values = dict(*positional, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a chat template may not set {name!r} in a namespace; rename it")


class _Dict:
    """The function `dict`, without the attributes of the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _raise_exception, "dict": _Dict(), "namespace": _Namespace}
    return environment


# Rendering


class _Renderer:
    def __init__(self, template: str, variables: dict[str, Any]) -> None:
        self._template = _environment().from_string(template)
        self._variables = variables

    def render(self, messages: list[dict[str, str]], *, generation: bool) -> str:
        characters = sum(len(message["content"]) for message in messages)
        most = MAX_OUTPUT + len(messages) * OUTPUT_PER_MESSAGE + characters * OUTPUT_PER_CHARACTER
        random.seed(0)  # jinja2's filter `random`: the same conversation is always the same text
        parts, length = [], 0
        for part in self._template.generate(messages=messages, add_generation_prompt=generation, **self._variables):
            parts.append(part)
            length += len(part)
            if length > most:
                sys.exit(TOO_LONG)
        return "".join(parts)


def _attempt(work: Callable[[], Any]) -> tuple[Any, str | None]:
    """What it returns, or the type and the first line of its error: a template is a program, and may raise any."""
    try:
        return work(), None
    except MemoryError:
        sys.exit(TOO_LONG)
    except Exception as error:
        first, *_ = str(error)[:_ERROR_CHARACTERS].strip().splitlines() or [""]
        return None, f"{type(error).__name__}: {first.rstrip('.')}" if first else type(error).__name__


def _answer(renderer: _Renderer | None, error: str | None, request: dict[str, Any]) -> bytes:
    text = None
    if renderer is not None:
        text, error = _attempt(lambda: renderer.render(**request))
    return json.dumps({"text": text, "error": error}).encode() + b"\n"


def _serve() -> None:
    limits = _Limits()
    limits.allow(0)
    task = json.loads(sys.stdin.buffer.readline())
    renderer, error = _attempt(lambda: _Renderer(**task))
    faulthandler.cancel_dump_traceback_later()
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        limits.allow(len(request["messages"]))
        answer = _answer(renderer, error, request)
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is the end of standard input
    _serve()
