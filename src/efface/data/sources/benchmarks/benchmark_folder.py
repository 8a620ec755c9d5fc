"""Read a local copy of a published benchmark: a folder of JSON-lines files. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from efface.data.items import to_item
from efface.data.readers.file_formats import read_file
from efface.data.readers.limits import Limits
from efface.data.readers.table import SourceRow
from efface.errors import EffaceError
from efface.schema import Item


@dataclass(frozen=True)
class BenchmarkFolder:
    """The files of one benchmark, with the SHA-256 of each file that was read."""

    folder: Path
    sources: dict[str, str] = field(default_factory=dict)
    """`folder/file` -> SHA-256."""

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise EffaceError(
                f"there is no folder {self.folder}: set --data-dir (or EFFACE_DATA) to a local copy of the "
                f"benchmarks, which contains {self.folder.name}/"
            )

    def rows(self, name: str) -> tuple[SourceRow, ...]:
        """Read a file.

        Args:
            name: Name of the file without its suffix.

        Returns:
            Its rows.

        Raises:
            EffaceError: If the file is missing or damaged.
        """
        file = read_file(self.folder / f"{name}.json", Limits())
        self.sources[f"{self.folder.name}/{name}.json"] = file.sha256
        return file.rows

    def items(self, name: str) -> tuple[Item, ...]:
        """Read a file as items.

        Args:
            name: Name of the file without its suffix.

        Returns:
            The items, with the ids `name/0001`, `name/0002` and so on.

        Raises:
            EffaceError: If the file is missing or damaged.
        """
        return tuple(to_item(row, f"{name}/{number:04d}") for number, row in enumerate(self.rows(name), 1))
