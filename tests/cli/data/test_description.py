"""What `efface data check` prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.usefixtures("place")


def test_messages_before_a_question_are_shown(efface: Command, place: Path) -> None:
    turns = [{"role": "system", "content": "Be brief. " * 20}]
    for number in range(4):
        turns += [{"role": "user", "content": f"Who {number}?"}, {"role": "assistant", "content": f"Ann {number}."}]
    (place / "forget.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    (place / "retain.jsonl").write_text(json.dumps({"messages": [*turns[:1], *turns[-2:]]}) + "\n")
    pairs = ("data.forget=forget.jsonl", "data.retain=retain.jsonl")
    lines = efface("data", "check", *pairs).stdout.splitlines()
    assert "  items: 1 conversation with 4 answers" in lines
    assert "  items: 1 conversation" in lines
    start = lines.index("retain/0001 (retain set)")
    [system] = [line for line in lines[start:] if line.startswith("  system: ")]
    assert len(system) == len("  system: ") + 80
    assert lines[start + 2 :] == ["  question: Who 3?", "  answer: Ann 3."]
    (place / "retain.jsonl").write_text(json.dumps({"prompt": turns[:-1], "completion": "Bob."}) + "\n")
    lines = efface("data", "check", *pairs).stdout.splitlines()
    assert lines[lines.index("retain/0001 (retain set)") + 2 :] == [
        "  earlier: 2 messages not shown here",
        "  user: Who 1?",
        "  assistant: Ann 1.",
        "  user: Who 2?",
        "  assistant: Ann 2.",
        "  question: Who 3?",
        "  answer: Bob.",
    ]


@pytest.mark.parametrize(("more", "shown"), [(["x", "y"], "2 per question"), ([], "0 to 2 per question")])
def test_counts_wrong_answers(efface: Command, place: Path, more: list[str], shown: str) -> None:
    rows = [
        {"question": f"{n}?", "answer": "a", "perturbed_answers": wrong} for n, wrong in enumerate((["x", "y"], more))
    ]
    (place / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = efface("data", "check", "data.forget=forget.jsonl").stdout.splitlines()
    assert f"  wrong answers: {shown}" in lines
    assert "  items: 2 questions" in lines
    (place / "forget.jsonl").write_text(json.dumps({"question": "Who?", "answer": "Ann."}) + "\n")
    lines = efface("data", "check", "data.forget=forget.jsonl").stdout.splitlines()
    assert "  items: 1 question" in lines
    assert not any(line.startswith("  wrong answers") for line in lines)


def test_in_characters_and_in_tokens(efface: Command) -> None:
    ran = efface("data", "check", "mine.yaml")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert "files, forget set" in lines
    assert any(line.startswith("  tokens: ") and line.endswith("none over the limit of 512") for line in lines)
    [missing] = [line for line in lines if line.startswith("  truth_ratio: ")]
    assert_names(missing, "perturbed_answers", "forget", "retain")
    assert "Metrics that can be computed from this data" in lines
    assert "  rouge: yes" in lines
    [judged] = [line for line in lines if line.startswith("  judged: ")]
    assert_names(judged, "words alone", "key_fact")
    assert "  answer: Author 0 was born in Turku." in lines
    lines = efface("data", "check", "data.forget=forget.jsonl").stdout.splitlines()
    assert "  characters: 51 to 51 per item, median 51, 95th percentile 51" in lines
    assert "Overlap of forget set and retain set" not in lines


def test_shows_no_control_codes(efface: Command, place: Path) -> None:
    (place / "forget.jsonl").write_text(json.dumps({"question": "Who\x1b[2J?", "answer": "A\nB [bold]c[/bold]"}) + "\n")
    ran = efface("data", "check", "data.forget=forget.jsonl")
    assert "\x1b" not in ran.stdout
    assert "  answer: A B [bold]c[/bold]" in ran.stdout.splitlines()
