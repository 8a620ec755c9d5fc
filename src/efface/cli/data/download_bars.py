"""Progress of downloads -> one bar per file in a terminal; nothing is printed without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from efface.data.sources.download import Progress as DownloadProgress


@contextmanager
def shown_downloads(console: Console) -> Iterator[DownloadProgress]:
    """Yield the progress callback for `efface.data.sources.download.fetch`."""
    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def show(name: str, written: int, size: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=size)
            progress.update(bars[name], completed=written)

        yield show
