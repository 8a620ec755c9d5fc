"""scripts/tofu_audit.py: its commands are valid, what is complete is skipped, and the control is attacked once."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from efface.auditing.config import AuditConfig
from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.resolve import resolve_config

SCRIPT = Path(__file__).parents[2] / "scripts" / "tofu_audit.py"
CONFIGS = {"finetune": FinetuneConfig, "run": RunConfig, "audit": AuditConfig}


class Commands:
    """Stands in for the command: notes each call, and writes the files that tell that it was complete."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, *arguments: str | Path) -> float:
        words = [str(each) for each in arguments]
        self.calls.append(words)
        made = Path(words[1]) if words[0] == "audit" else Path(words[words.index("--out") + 1])
        if words[0] == "audit":
            assert (made / "audit" / "rows.jsonl").is_file() == (len(self.named("audit")) > 1)
            made = made / "audit"
        (made / "model").mkdir(parents=True, exist_ok=True)
        for name in ("results.json", "rows.jsonl"):
            (made / name).write_text("{}")
        return 1.5

    def named(self, command: str) -> list[list[str]]:
        """The calls of a command."""
        return [call for call in self.calls if call[0] == command]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    main = runpy.run_path(str(SCRIPT))["main"]
    monkeypatch.setitem(main.__globals__, "efface", Commands())
    return main.__globals__


@pytest.fixture
def tofu(tmp_path: Path) -> Path:
    """A folder with the two files, one answer in each of which is too long."""
    folder = tmp_path / "tofu"
    folder.mkdir()
    for name in ("forget01", "retain"):
        rows = [
            {
                "task_id": "1",
                "question": f"Where is {name} {n}?",
                "answer": f"In place {n}." if n else "long " * 17,
                "paraphrased_question": "Where?",
                "paraphrased_answer": f"It is in place {n}.",
                "perturbed_answer": ["In Graz."],
            }
            for n in range(60)
        ]
        (folder / f"{name}_perturbed.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_commands_are_valid_and_the_control_is_attacked_once(script: Any, tofu: Path, tmp_path: Path) -> None:
    out, commands = tmp_path / "out", script["efface"]
    data = script["write_data"](tofu, out)
    counts = [len((out / f"{name}.jsonl").read_text().splitlines()) for name in ("forget", "retain")]
    assert counts == [script["FORGET"], script["RETAIN"]]
    assert "long" not in (out / "forget.jsonl").read_text()
    script["train"]("base", data, out)
    script["audit"](out)
    assert [call[0] for call in commands.calls] == ["finetune"] * 2 + ["run"] * 3 + ["audit"] * 3
    assert [("--without" in call) for call in commands.named("finetune")] == [False, True]
    for command, *words in commands.calls:
        settings = [word for word in words if "=" in word]
        resolve_config(CONFIGS[command], None, settings)
    done = len(commands.calls)
    script["train"]("base", data, out)
    script["audit"](out)
    assert len(commands.calls) == done


def test_what_was_interrupted_is_resumed(script: Any, tofu: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = script["write_data"](tofu, out)
    (out / "target").mkdir()
    script["train"]("base", data, out)
    assert [("--resume" in call) for call in script["efface"].named("finetune")] == [True, False]
