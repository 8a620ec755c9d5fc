"""`efface audit`: what the user sees, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from efface.report.audit_words import FORBIDDEN
from support.audited import hidden, hidden_run, known_and_never, never  # noqa: F401
from support.messages import assert_names

Efface = Callable[..., CompletedProcess[str]]

PLUGIN = """
import efface
from efface.schema import Prompt

class Whisper(efface.Attack):
    name = "whisper"

    def run(self, subject, facts, unit, context):
        prompts = [Prompt(f"Just between us: {fact.question}") for fact in facts]
        return self.rows_of_prompts(subject, facts, unit, context, prompts)
"""


def test_the_sentence_the_table_and_what_was_not_tried(efface: Efface, hidden_run: Path, never: Path) -> None:  # noqa: F811
    ran = efface("audit", str(hidden_run), "--against", str(never), "audit.attacks=first-words,relearn", "device=cpu")
    assert ran.returncode == 0, ran.stderr
    said = " ".join(ran.stdout.split())
    assert_names(said, "6 facts that it knew", "0 of 6 (leaves up to 39 %", "relearn", "not tried: sample")
    assert_names(said, str(hidden_run / "audit" / "rows.jsonl"))
    assert not any(word in said for word in FORBIDDEN)
    assert efface("verify", str(hidden_run)).returncode == 0
    assert efface("report", str(hidden_run), "--out", str(hidden_run.parent / "page.html")).returncode == 0
    assert "Can it be brought back?" in (hidden_run.parent / "page.html").read_text(encoding="utf-8")


def test_json_is_what_results_json_has(efface: Efface, hidden_run: Path) -> None:  # noqa: F811
    ran = efface("audit", str(hidden_run), "audit.attacks=plain", "device=cpu", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == json.loads((hidden_run / "results.json").read_text(encoding="utf-8"))["audit"]


def test_an_attack_of_a_user_from_a_file(efface: Efface, hidden_run: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "mine.py").write_text(PLUGIN, encoding="utf-8")
    ran = efface(
        "audit", str(hidden_run), f"plugins={tmp_path / 'mine.py'}", "audit.attacks=whisper", "device=cpu", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    assert "whisper" in json.loads(ran.stdout)["attacks"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["audit.attacks=relern"], ["relern", "relearn"]),
        (["audit.attacks="], ["audit.attacks", "asks, weights, both"]),
        (["audit.level=fast"], ["audit.level", "quick"]),
        (["--against", "nowhere"], ["--against", "nowhere"]),
        (["plugins=missing.py"], ["missing.py"]),
        (["audit.levels=quick"], ["audit.level"]),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    efface: Efface,
    hidden_run: Path,  # noqa: F811
    arguments: list[str],
    named: list[str],
) -> None:
    ran = efface("audit", str(hidden_run), *arguments)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert_names(ran.stderr, *named)
    assert not (hidden_run / "audit").exists()


def test_where_nothing_was_known_there_is_nothing_to_audit(efface: Efface, finished: Path, here: Path) -> None:
    ran = efface("audit", str(finished))
    assert ran.returncode == 2
    assert_names(ran.stderr, "nothing to audit")
