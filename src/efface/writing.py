"""Files that appear whole or not at all. Of several processes, the first writes, and the others wait for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from efface.errors import EffaceError
from efface.processes import by_first


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it onto `path` only when the block succeeds.

    Raises `EffaceError` when the disk is full or the folder cannot be written; nothing half-written stays.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise EffaceError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another --out"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or nothing."""

    def write() -> None:
        with written_beside(path) as beside:
            beside.write_text(text, encoding="utf-8")

    by_first(write)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, or nothing. NaN is refused: a score that cannot be had is null."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
