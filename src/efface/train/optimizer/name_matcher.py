"""The child process of `trained_weights`: matches names under limits. Imports nothing of efface.

A regular expression can take longer than anybody waits for, and may come with somebody else's config. Standard input
has the expression and the names as JSON, standard output the names that it matches.
"""

import contextlib
import json
import re
import sys

CPU_SECONDS = 2
MEMORY_MIB = 512


def _limit_resources() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no limits: there, only time is limited
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MIB * 2**20, MEMORY_MIB * 2**20))


if __name__ == "__main__":
    _limit_resources()
    try:
        expression, names = json.load(sys.stdin)
        matches = re.compile(expression).fullmatch
        json.dump([name for name in names if matches(name)], sys.stdout)
    except (MemoryError, RecursionError):
        sys.exit(1)
