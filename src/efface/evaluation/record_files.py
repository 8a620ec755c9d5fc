"""A model's records on disk: one SET.jsonl for each evaluation set. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from efface.artifacts import Record, read_records, write_records
from efface.errors import EffaceError


def write_record_sets(folder: Path, records: Mapping[str, Sequence[Record]]) -> None:
    """Write each set's records to `folder`/SET.jsonl, each file whole or not at all.

    Raises `EffaceError` where the folder holds records of other sets: they would be read back as if they
    belonged to this model.
    """
    strangers = sorted(path.name for path in folder.glob("*.jsonl") if path.stem not in records)
    if strangers:
        raise EffaceError(
            f"{folder} holds records of other sets ({', '.join(strangers)}); remove them or choose another folder"
        )
    for name, rows in records.items():
        write_records(folder / f"{name}.jsonl", rows)


def read_record_sets(folder: Path) -> dict[str, list[Record]]:
    """Read what `write_record_sets` wrote, by set name.

    Raises `EffaceError` where there is nothing to read or a file is damaged.
    """
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise EffaceError(f"there are no records in {folder}; run the evaluation first")
    return {path.stem: read_records(path) for path in paths}
