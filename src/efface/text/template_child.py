"""The child process of `template_limits`: renders a chat template under limits. Imports jinja2 and nothing of efface.

Standard input has the template, conversations and variables as JSON. The exit code is `TOO_LONG` where the template
exceeds a limit; the parent ignores any other.
"""

import contextlib
import json
import sys
from typing import Any

CPU_SECONDS = 2
MEMORY_MIB = 512
MAX_OUTPUT = 100_000
"""Characters that a template may write around a short question."""
TOO_LONG = 70


def _limit_resources() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no limits: there, only time is limited
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MIB * 2**20, MEMORY_MIB * 2**20))


def _render(task: dict[str, Any]) -> None:
    """Render as transformers does, whose environment has these extensions and globals."""
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": lambda _: "26 Jul 2024"}
    template = environment.from_string(task["template"])
    for messages in task["conversations"]:
        for generation in (True, False):
            length = 0
            with contextlib.suppress(TemplateError):
                for part in template.generate(messages=messages, add_generation_prompt=generation, **task["variables"]):
                    length += len(part)
                    if length > MAX_OUTPUT:
                        sys.exit(TOO_LONG)


if __name__ == "__main__":
    _limit_resources()
    try:
        _render(json.load(sys.stdin))
    except MemoryError:
        sys.exit(TOO_LONG)
    except Exception:  # the parent process reports what the template raises
        sys.exit(1)
