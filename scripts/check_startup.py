"""Fail if `efface --help` takes half a second of processor time or more.

python scripts/check_startup.py PATH_OF_EFFACE
"""

from __future__ import annotations

import resource
import subprocess
import sys

LIMIT_SECONDS = 0.5
RUNS = 10  # the fastest is compared: the others also measure other programs, which use the same caches


def seconds(command: list[str]) -> float:
    """Processor time of one run, however busy the machine; raises `CalledProcessError` if the command fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time the command, print the result, and exit with 1 if it is too slow."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    command = [sys.argv[1], "--help"]
    best = min(seconds(command) for _ in range(RUNS))
    print(f"{' '.join(command)}: {best:.2f} s (limit {LIMIT_SECONDS} s, best of {RUNS})")
    if best >= LIMIT_SECONDS:
        raise SystemExit("too slow: find the slow import with `python -X importtime -m efface`")


if __name__ == "__main__":
    main()
