"""Runs of the command that a SIGKILL ends at a chosen moment; imported by the child processes themselves."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}


def efface(arguments: list[str], folder: str, moment: int | None, log: str) -> None:
    """Run the command. Just before its write number `moment` (from 0) in `folder`, die as by `kill -9`.

    Each write is a line in `log`: what will be done, and to which path.
    """
    writes = 0

    def watch(event: str, details: tuple[object, ...]) -> None:
        nonlocal writes
        writing = event in WRITES or (event == "open" and int(str(details[2])) & (os.O_WRONLY | os.O_RDWR))
        if not writing or not isinstance(details[0], str | Path) or not str(details[0]).startswith(folder):
            return
        if writes == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        writes += 1
        with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{event} {str(details[0]).removeprefix(folder)}\n")

    from efface.cli import main

    sys.argv = ["efface", *arguments]
    sys.addaudithook(watch)
    main()
