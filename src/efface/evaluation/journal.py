"""Results of an evaluation on disk, batch by batch: after a kill, complete batches are read instead of made again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from efface import distributed
from efface.errors import EffaceError
from efface.files.permissions import make_folder, settle
from efface.files.safe_read import read_lines
from efface.main_process import on_main_process


class Journal:
    """The results of one model's evaluation so far. Each process appends to a file of its own, and reads all.

    Each line has the SHA-256 of its content: one that is incomplete or damaged is not there.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        """Read what an earlier process wrote.

        Args:
            folder: Made with the first result.
            made_by: What results depend on, such as the model; results of another origin are ignored and replaced.
        """
        self._folder = folder
        self._own = folder / f"{distributed.rank():05d}.jsonl"
        self._header = _to_line({"made_by": dict(made_by)})
        self._known: dict[str, dict[str, Any]] = {}
        self._own_lines: list[str] = []
        self._started = False
        for path in sorted(folder.glob("*.jsonl")):
            self._read(path)

    def known(self, kind: str) -> Mapping[str, Any]:
        """The results of a kind, such as `logprobs`, by the content that they belong to."""
        return self._known.setdefault(kind, {})

    def add(self, kind: str, results: Mapping[str, Any]) -> None:
        """Write the results of a batch.

        Args:
            kind: As for `known`.
            results: Content -> result, in JSON.

        Raises:
            EffaceError: The file cannot be written.
        """
        self._known.setdefault(kind, {}).update(results)
        line = _to_line({"kind": kind, "results": dict(results)})
        try:
            if self._started:
                with self._own.open("a", encoding="utf-8") as file:
                    file.write(line)
                return
            make_folder(self._folder)
            self._own.write_text("".join([self._header, *self._own_lines, line]), encoding="utf-8")
            settle(self._own)
            self._started = True
        except OSError as error:
            raise EffaceError(
                f"cannot write {self._own}: {error.strerror or error}; free some space, then continue with --resume"
            ) from error

    def remove(self) -> None:
        """Remove all files, once the records are written. Every process must call this."""
        remove_journal(self._folder)

    def _read(self, path: Path) -> None:
        try:
            header, *lines = [line.decode("utf-8", errors="replace") for line in read_lines(path)]
        except (OSError, ValueError):
            return
        if header != self._header:
            return
        for line in lines:
            digest, _, text = line.partition(" ")
            if digest != _digest(text):
                continue
            entry = json.loads(text)
            self._known.setdefault(entry["kind"], {}).update(entry["results"])
            if path == self._own:
                self._own_lines.append(line)


def remove_journal(folder: Path) -> None:
    """Remove the files of a journal whose records are complete: a kill may have come between. Every process calls this.

    Args:
        folder: Of the journal; need not exist.
    """

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()  # unless another stage has a folder in it

    on_main_process(remove)


def _to_line(value: object) -> str:
    text = json.dumps(value, sort_keys=True) + "\n"
    return f"{_digest(text)} {text}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
