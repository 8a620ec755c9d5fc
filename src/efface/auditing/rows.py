"""audit/rows.jsonl: what every attack made of every fact, so that an audit can be continued after a kill. No torch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ConfigDict, ValidationError

from efface.auditing.attack import ModelName, Unit
from efface.auditing.fact import Row
from efface.errors import EffaceError
from efface.files.atomic import write_text
from efface.files.folders import AUDIT_ROWS
from efface.files.safe_read import read_lines


class _Line(Row):
    """A row on disk."""

    model_config = ConfigDict(strict=True)

    model: ModelName
    key: str
    """Of everything that the rows of a model depend on; those of another key are of another audit."""
    of: int
    """How many rows the unit has: with fewer, a kill came between."""
    seconds: float
    """That the unit took."""


class RowsFile:
    """The rows of an audit that is running; under a temporary name until it is complete."""

    def __init__(self, folder: Path, keys: dict[ModelName, str], plugins: Mapping[str, str] | None = None) -> None:
        """Read what earlier audits wrote.

        Args:
            folder: The folder `audit` of a run, or another one.
            keys: Of each model; rows of other keys are dropped.
            plugins: Attack of the user -> digest of its file; rows of other digests are dropped, too.

        Raises:
            EffaceError: A line is damaged, other than the last one, which a kill may have cut.
        """
        self.path, self._partial = folder / AUDIT_ROWS, folder / f".{AUDIT_ROWS}.partial"
        self._keys, self._plugins = keys, plugins or {}
        self._units: dict[tuple[str, ModelName, str, int], list[_Line]] = {}
        for path in (self.path, self._partial):
            self._read(path)
        self._started = False

    def done(self, attack: str, unit: Unit, model: ModelName) -> list[Row] | None:
        """The rows of a unit; None where it was not run to its end."""
        lines = self._units.get((attack, model, unit.variant, unit.seed))
        return None if lines is None else [_row(line) for line in lines]

    def seconds(self, attack: str, unit: Unit, model: ModelName) -> float:
        """How long a unit took; 0 for one that was not run."""
        lines = self._units.get((attack, model, unit.variant, unit.seed), [])
        return lines[0].seconds if lines else 0.0

    def add(self, attack: str, unit: Unit, model: ModelName, rows: Sequence[Row], *, seconds: float) -> None:
        """Write the rows of a unit.

        Raises:
            EffaceError: The disk is full.
        """
        key, took = self._key(attack, model), round(seconds, 3)
        lines = [_Line(**row.model_dump(), model=model, key=key, of=len(rows), seconds=took) for row in rows]
        self._units[attack, model, unit.variant, unit.seed] = lines
        try:
            if not self._started:
                write_text(self._partial, self.text())
                self._started = True
                return
            with self._partial.open("a", encoding="utf-8") as file:
                file.write("".join(map(_text, lines)))
        except OSError as error:
            raise EffaceError(
                f"cannot write {self._partial}: {error.strerror or error}; free some space, then audit again: what is "
                "done is kept"
            ) from error

    def text(self) -> str:
        """The content of the complete file."""
        return "".join(map(_text, self._lines()))

    def remove_partial(self) -> None:
        """Remove the temporary file, once the complete one is there."""
        self._partial.unlink(missing_ok=True)

    def _lines(self) -> list[_Line]:
        return [line for lines in self._units.values() for line in lines]

    def _key(self, attack: str, model: ModelName) -> str:
        """What rows must have to be used again."""
        return " ".join([self._keys[model], *([self._plugins[attack]] if attack in self._plugins else [])])

    def _read(self, path: Path) -> None:
        if not path.is_file():
            return
        found: dict[tuple[str, ModelName, str, int], list[_Line]] = defaultdict(list)
        for line in _read_lines(path):
            if line.model in self._keys and line.key == self._key(line.attack, line.model):
                found[line.attack, line.model, line.variant, line.seed].append(line)
        self._units.update({unit: lines for unit, lines in found.items() if len(lines) == lines[0].of})


def _read_lines(path: Path) -> list[_Line]:
    lines = []
    for number, content in enumerate(read_lines(path), 1):
        if not content.endswith(b"\n"):
            break  # cut by a kill
        try:
            lines.append(_Line.model_validate_json(content))
        except ValidationError as error:
            raise EffaceError(
                f"{path}, line {number}: not a row of an audit; remove the file to audit from the start"
            ) from error
    return lines


def _row(line: _Line) -> Row:
    return Row.model_validate({name: getattr(line, name) for name in Row.model_fields})


def _text(line: _Line) -> str:
    return json.dumps(line.model_dump(), ensure_ascii=False, allow_nan=False) + "\n"
