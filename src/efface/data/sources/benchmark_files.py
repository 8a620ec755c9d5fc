"""A local copy of a published benchmark: a folder of JSON-lines files. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from efface.data.items import to_item
from efface.data.readers.file_formats import read_file
from efface.data.readers.table import SourceRow
from efface.errors import EffaceError
from efface.schema import Item


@dataclass(frozen=True)
class BenchmarkFolder:
    """The files of one benchmark; remembers the SHA-256 of each that is read."""

    folder: Path
    sources: dict[str, str] = field(default_factory=dict)
    """`folder/file` -> SHA-256."""

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise EffaceError(
                f"there is no folder {self.folder}: point --data-dir (or EFFACE_DATA) at a local copy of the "
                "benchmarks, which holds tofu/ and real_world/"
            )

    def rows(self, name: str) -> tuple[SourceRow, ...]:
        """Read `name`.json. Raises `EffaceError` where it is missing or damaged."""
        file = read_file(self.folder / f"{name}.json")
        self.sources[f"{self.folder.name}/{name}.json"] = file.sha256
        return file.rows

    def items(self, name: str) -> tuple[Item, ...]:
        """Read `name`.json as items called `name/0001` and so on."""
        return tuple(to_item(row, f"{name}/{number:04d}") for number, row in enumerate(self.rows(name), 1))
