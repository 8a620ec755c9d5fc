"""runs.jsonl: one line per run that ended, for analysis with other tools. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from efface.artifacts import ContinualResults, Manifest, Results
from efface.errors import EffaceError
from efface.files.atomic import write_text
from efface.files.safe_read import parse_json


class RunLog:
    """The lines of a growing file; an incomplete last line, as after a kill, is dropped and its run logged again."""

    def __init__(self, path: Path) -> None:
        """Read the lines so far.

        Args:
            path: The file; need not exist.

        Raises:
            EffaceError: A line before the last one is damaged.
        """
        self._path = path
        self._lines = _read(path)
        self._latest = {line["key"]: line for line in self._lines}

    def finished(self, key: str) -> bool:
        """Whether the run of this key is logged, and not as a failure."""
        return self._latest.get(key, {}).get("status") == "finished"

    def latest(self, key: str) -> dict[str, Any]:
        """The latest line of the run of this key."""
        return self._latest[key]

    def add(self, line: Mapping[str, Any]) -> None:
        """Log a run.

        Args:
            line: From `finished_line` or `failed_line`; not written again if it equals the latest line of its run.
        """
        if self._latest.get(line["key"]) == line:
            return
        self._lines.append(dict(line))
        self._latest[line["key"]] = self._lines[-1]
        write_text(self._path, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in self._lines))


def run_facts(key: str, values: Mapping[str, Any], config: BaseModel, folder: str) -> dict[str, Any]:
    """Make what every line of a run has.

    Args:
        key: The key of the run.
        values: Its combination of the grid.
        config: Its settings; those that differ from the defaults are logged.
        folder: Its folder, relative to that of the sweep.

    Returns:
        The start of a line.
    """
    settings = config.model_dump(mode="json", exclude_defaults=True)
    return {"key": key, "grid": json.loads(json.dumps(values, default=str)), "settings": settings, "folder": folder}


def finished_line(
    facts: Mapping[str, Any], results: Results, manifest: Manifest, continual: ContinualResults | None
) -> dict[str, Any]:
    """Make the line of a complete run.

    Args:
        facts: From `run_facts`.
        results: Of the run; of a queue, those of its last request.
        manifest: Has the seconds of each stage.
        continual: The results of a queue over time; None for a single request.

    Returns:
        The facts, the seconds of each stage, the scores after unlearning, and the forget efficacies over time.
    """
    seconds = {**manifest.seconds, "all": round(sum(manifest.seconds.values()), 3)}
    line = {**facts, "status": "finished", "definition": results.definition, "seconds": seconds}
    line |= results.after.model_dump()
    if results.downstream is not None:
        line["downstream"] = results.downstream.after.to_json()
    if continual is not None:
        line["over_time"] = continual.model_dump(include={"requests", "metrics", "forget_efficacy"})
    return line


def failed_line(facts: Mapping[str, Any], error: str) -> dict[str, Any]:
    """Make the line of a run that failed from its `run_facts` and the message of the error.

    Args:
        facts: From `run_facts`.
        error: The message.

    Returns:
        The facts, the status and the message.
    """
    return {**facts, "status": "failed", "error": error}


def _read(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    text = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    for number, line in enumerate(text[:-1], 1):  # the last part is empty, or an incomplete line
        try:
            lines.append({**parse_json(line)})
            lines[-1]["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise EffaceError(f"{path}, line {number} is damaged; remove it, the sweep will write it again") from error
    return lines
