"""Runs of the command that a SIGKILL ends at a chosen moment; imported by the child processes themselves."""

from __future__ import annotations

import gc
import os
import signal
import sys

WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def efface(arguments: list[str], folder: str, moment: str | None, number: int = signal.SIGKILL) -> None:
    """Run the command. Just before it does `moment` in `folder` for the first time, die as by `kill -9`.

    A moment is a write and its path within the folder, such as `os.rename /.config.yaml.partial`; opening a file
    to write to it is `open`. Another signal than SIGKILL may be sent, by its number.
    """

    def watch(event: str, details: tuple[object, ...]) -> None:
        if event == "open":
            writing = isinstance(details[2], int) and bool(details[2] & (os.O_WRONLY | os.O_RDWR))
        else:
            writing = event in WRITES
        if writing and f"{event} {str(details[0]).removeprefix(folder)}" == moment:
            os.kill(os.getpid(), number)

    from efface.cli import main

    gc.freeze()  # runs collect garbage often, which takes long with all that was imported
    sys.argv = ["efface", *arguments]
    sys.addaudithook(watch)
    main()
