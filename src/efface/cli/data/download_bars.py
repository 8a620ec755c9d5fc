"""Progress bars of downloads in a terminal; nothing is shown if the output is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from efface.data.sources.benchmarks.download import MakeProgressBar


@dataclass
class _DownloadBar:
    """The bar of one file, with the part of tqdm's interface that pooch calls."""

    progress: Progress
    task: TaskID
    size: int
    """In bytes."""
    total: float = 0
    """Not shown: pooch sets it to the Content-Length, which is less than `size` if the server compresses the file."""

    def update(self, n: float, /) -> None:
        self.progress.advance(self.task, n)

    def reset(self) -> None:
        self.progress.reset(self.task)

    def close(self) -> None:
        self.progress.update(self.task, completed=self.size)


@contextmanager
def shown_downloads(console: Console) -> Iterator[MakeProgressBar]:
    """Show a bar for each file.

    Args:
        console: Where the bars are drawn; they are removed at the end.

    Yields:
        The argument `progress_bar` of `efface.data.sources.benchmarks.download.fetch`.
    """
    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def make_bar(name: str, size: int) -> _DownloadBar:
            if name in tasks:  # another attempt
                progress.reset(tasks[name])
            else:
                tasks[name] = progress.add_task(name, total=size)
            return _DownloadBar(progress, tasks[name], size)

        yield make_bar
