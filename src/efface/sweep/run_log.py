"""runs.jsonl: one line for each run that ended, for whoever goes through them with other tools. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from efface.artifacts import ContinualResults, Manifest, Results
from efface.atomic import write_text
from efface.errors import EffaceError


class RunLog:
    """The lines of a file that grows. A line that a kill cut short is dropped, and its run recorded again."""

    def __init__(self, path: Path) -> None:
        """Raises `EffaceError` for a damaged line before the last one."""
        self._path = path
        self._lines = _read(path)
        self._last = {line["key"]: line for line in self._lines}

    def finished(self, key: str) -> bool:
        """Whether the run of this key was recorded, and not as a failure."""
        return self._last.get(key, {}).get("status") == "finished"

    def line(self, key: str) -> dict[str, Any]:
        """What was last recorded of this run."""
        return self._last[key]

    def add(self, line: Mapping[str, Any]) -> None:
        """Record a run. A failure that says what the last one of this run said is not recorded again."""
        if self._last.get(line["key"]) == line:
            return
        self._lines.append(dict(line))
        self._last[line["key"]] = self._lines[-1]
        write_text(self._path, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in self._lines))


def finished_line(
    head: Mapping[str, Any], results: Results, manifest: Manifest, over_time: ContinualResults | None
) -> dict[str, Any]:
    """What is recorded of a finished run: the seconds of its stages and its scores after unlearning.

    Of a queue of requests these are the scores after the last; beside them, the efficacy of each over time.
    """
    seconds = {**manifest.seconds, "all": round(sum(manifest.seconds.values()), 3)}
    line = {**head, "status": "finished", "definition": results.definition, "seconds": seconds}
    line |= results.after.model_dump()
    if results.downstream is not None:
        line["downstream"] = results.downstream.after.to_json()
    if over_time is not None:
        line["over_time"] = over_time.model_dump(include={"requests", "metrics", "forget_efficacy"})
    return line


def failed_line(head: Mapping[str, Any], error: str) -> dict[str, Any]:
    """What is recorded of a run that failed."""
    return {**head, "status": "failed", "error": error}


def head(key: str, values: Mapping[str, Any], config: BaseModel, folder: str) -> dict[str, Any]:
    """Which run a line is about: the grid's values, the settings that are not the defaults, and its folder.

    `folder` starts from that of the sweep.
    """
    settings = config.model_dump(mode="json", exclude_defaults=True)
    return {"key": key, "grid": json.loads(json.dumps(values, default=str)), "settings": settings, "folder": folder}


def _read(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    text = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    for number, line in enumerate(text[:-1], 1):  # behind the last line break is nothing, or half a line
        try:
            lines.append({**json.loads(line)})
            lines[-1]["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise EffaceError(f"{path}, line {number} is damaged; remove it, it will be written again") from error
    return lines
