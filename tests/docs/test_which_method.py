"""The numbers of "Which method" are those of the reproduction, method by method."""

from __future__ import annotations

import json
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
REPRODUCTION = (DOCS / "reproduction.md").read_text(encoding="utf-8")
PEOPLE = "einstein", "darwin"
_NUMBER = re.compile(r"(?<![\w-])\d*\.?\d+(?![\w%-])")


def _numbers(text: str) -> set[float]:
    return {float(each) for each in _NUMBER.findall(text)}


def _measured(section: str, method: str) -> set[float]:
    """The numbers of a method in a section; of the known facts, those of the people that the page names."""
    if section == "known":
        runs = json.loads((DOCS / "reproduction" / "known.json").read_bytes())["runs"]
        keys = ("said_after", "likely_after", "declined_after", "kept")
        return {float(run[key]) for run in runs for key in keys if run["forget"] in PEOPLE and run["method"] == method}
    text = re.split(r"^## ", REPRODUCTION.partition(f"{{#{section}}}")[2], flags=re.MULTILINE)[0]
    rows = [line for line in text.splitlines() if line.lower().startswith((f"| {method} |", "| before |"))]
    return set().union(*map(_numbers, rows)) | {100.0}  # questions of the retain set


def test_the_numbers_are_those_of_the_reproduction() -> None:
    page = (DOCS / "methods" / "index.md").read_text(encoding="utf-8")
    table = page.partition("{#which}")[2].partition("\n\nSo: ")[0]
    checked = 0
    for line in table.splitlines():
        section = re.search(r"\[Measured\]\(\.\./reproduction\.md#([\w-]+)\)", line)
        if section is None:
            continue
        for cell in line.strip("| ").split(" | ")[1:]:
            names = re.split(r"`([a-z]+\+[a-z]+)`", cell)
            for method, said in zip(names[1::2], names[2::2], strict=True):
                wrong = _numbers(said) - _measured(section[1], method)
                assert not wrong, f"{method} in {section[1]}: {wrong}"
                checked += len(_numbers(said))
    assert checked > 30
