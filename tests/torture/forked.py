"""Run a command in a child that was forked from a process with all libraries imported, and measure it."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_FAILED = 99
SECONDS, MIB = 10, 1024
"""What no command on a small hostile input may take: seconds of processor time, and MiB beyond the libraries."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    """Exit code, negative for a signal; None if it was stopped because it took too long."""
    stderr: str
    seconds: float
    """Of processor time."""
    mib: float
    """Peak memory beyond that of the libraries."""

    @property
    def problem(self) -> str | None:
        """Why this is not how a command may end; None if it is: success, or one sentence and exit code 2."""
        lines = self.stderr.strip().splitlines()
        problems = {
            "hangs": self.code is None,
            f"bug: {lines[-1][:200] if lines else ''}": "Traceback" in self.stderr or "bug in efface" in self.stderr,
            f"exit code {self.code}": self.code not in (0, 2),
            "more than one line": self.code == 2 and len(lines) != 1,
            "control codes reach the terminal": "\x1b" in self.stderr,
            f"{self.seconds:.0f} s": self.seconds > SECONDS,
            f"{self.mib:.0f} MiB": self.mib > MIB,
        }
        return next((problem for problem, occurred in problems.items() if occurred), None)


def refusal(ended: Ended, *named: object) -> str | None:
    """What is wrong with a command that must end with one sentence that names something; None if it does."""
    if ended.code != 2:
        return f"exit code {ended.code} instead of 2"
    missing = [str(each) for each in named if str(each) not in ended.stderr]
    return ended.problem or (f"does not name {missing[0]}: {ended.stderr.strip()[-200:]}" if missing else None)


def import_libraries() -> None:
    """Import what commands need, so that children have it. No thread may start here."""
    import optuna  # noqa: F401
    import peft  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import efface.auditing.audit
    import efface.cli.main
    import efface.preflight.dry_run
    import efface.run.pipeline
    import efface.tuning.search  # noqa: F401
    from efface.text.formatter import PromptFormatter  # noqa: F401


def run(
    arguments: Sequence[str | Path],
    folder: Path,
    *,
    prepare: Callable[[], object] | None = None,
    wall_seconds: float = 600,
) -> Ended:
    """Run `efface` with some arguments and wait for its end.

    Args:
        arguments: Of the command.
        folder: Its working directory, which gets its output in the files stdout and stderr.
        prepare: Called in the child before the command.
        wall_seconds: When it is stopped; long, as other work may slow the machine.

    Returns:
        How it ended.
    """
    return start(arguments, folder, prepare=prepare)(wall_seconds)


def start(
    arguments: Sequence[str | Path], folder: Path, *, prepare: Callable[[], object] | None = None
) -> Callable[[float], Ended]:
    """Start `efface` as `run` does; returns the function that waits for its end, given the seconds to wait."""
    from efface.cli import main

    stderr = folder / "stderr"
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return lambda seconds: _wait(child, stderr, baseline, time.monotonic() + seconds)
    code = _FAILED
    try:
        os.setsid()
        os.chdir(folder)
        for number, path in enumerate((Path(os.devnull), folder / "stdout", stderr)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.argv = ["efface", *map(str, arguments)]
        if prepare is not None:
            prepare()
        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, stderr: Path, baseline: int, deadline: float) -> Ended:
    stopped = False
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline and not stopped:
            os.killpg(child, signal.SIGKILL)
            stopped = True
        time.sleep(0.005)
    return Ended(
        code=None if stopped else os.waitstatus_to_exitcode(status),
        stderr=stderr.read_text(encoding="utf-8", errors="replace") if stderr.is_file() else "",
        seconds=usage.ru_utime + usage.ru_stime,
        mib=max(0, usage.ru_maxrss - baseline) / 1024,
    )
