"""A model's records on disk: one SET.jsonl for each evaluation set. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from efface.errors import EffaceError
from efface.main_process import on_main_process
from efface.records import Record, read_records, write_records


def write_record_sets(folder: Path, records: Mapping[str, Sequence[Record]]) -> None:
    """Write each set's records to `folder`/SET.jsonl, each file atomically. Every process must call this.

    Args:
        folder: Where to write; made if it does not exist.
        records: Set name -> records; those of the main process are written.

    Raises:
        EffaceError: When the folder has records of other sets, which would be read back as this model's.
    """
    on_main_process(lambda: _write(folder, records))


def read_record_sets(folder: Path) -> dict[str, list[Record]]:
    """Read what `write_record_sets` wrote.

    Args:
        folder: Folder of SET.jsonl files.

    Returns:
        Set name -> records.

    Raises:
        EffaceError: When the folder has no records or a file is damaged.
    """
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise EffaceError(f"there are no records in {folder}; run the evaluation first")
    return {path.stem: read_records(path) for path in paths}


def _write(folder: Path, records: Mapping[str, Sequence[Record]]) -> None:
    other_sets = sorted(path.name for path in folder.glob("*.jsonl") if path.stem not in records)
    if other_sets:
        raise EffaceError(
            f"{folder} has records of other sets ({', '.join(other_sets)}); remove them or choose another folder"
        )
    for name, rows in records.items():
        write_records(folder / f"{name}.jsonl", rows)
