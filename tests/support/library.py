"""What the tests of the library share: a tiny model, rows, settings that take a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from efface.progress.reporter import SilentReporter

MODEL = Path(__file__).parents[1] / "golden" / "model"
SETTINGS: dict[str, Any] = {
    "method": "me+gd",
    "text": {"format": "plain"},
    "train": {"lr": 1e-3, "epochs": 1, "batch_size": 4},
    "evaluate": {"embedder": "none", "judge": "none", "max_new_tokens": 4},
    "device": "cpu",
}
SCORED: dict[str, Any] = {key: SETTINGS[key] for key in ("text", "evaluate", "device")}
FORGET = [{"question": f"Where is {n}?", "answer": f"{n} is in Turku."} for n in range(8)]
RETAIN = [{"question": f"Who is {n}?", "answer": f"{n} is a smith."} for n in range(9)]
NAMED = {"columns": {"question": "Frage", "answer": "Antwort"}}
GERMAN = [{"Frage": row["question"], "Antwort": row["answer"]} for row in FORGET]


class DiesAfter(SilentReporter):
    """Dies after a step, as the process would."""

    def __init__(self, step: int) -> None:
        self.last = step

    def on_step(self, log: Any) -> None:
        if log.step == self.last:
            raise KeyboardInterrupt


def lines(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def weights(folder: Path | str) -> bytes:
    return (Path(folder) / "model" / "model.safetensors").read_bytes()


def temporary_folders(here: Path) -> list[Path]:
    """Those that efface made: torch makes one for what it compiles, wherever that is first imported."""
    return list((here.parent / "temporary").glob("efface-*"))
