"""Every `efface ...` line on a page is one that the command line accepts, with settings that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from efface.cli.common import completion
from support.command_lines import PARSER, resolve

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECORDS = ("log.md", "decisions")
"""What was run or decided at the time, with the names of that time."""


def command_lines(page: Path) -> Iterator[str]:
    """The commands in indented and fenced blocks, continued lines joined, without comments."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) + re.findall(r"^    .*$", text, re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    yield from (line for line in lines if line.startswith("efface ") and "..." not in line)


LINES = [
    (f"{page.relative_to(ROOT)}: {line}", line)
    for page in PAGES
    if not set(page.relative_to(ROOT / "docs" if "docs" in page.parts else ROOT).parts) & set(RECORDS)
    for line in command_lines(page)
]


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=[name for name, _ in LINES])
def test_commands_of_a_page(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    name, command, arguments = resolve(words)
    assert command is not PARSER or arguments[0].startswith("--")
    if command is PARSER:
        return
    parameters = command.make_context(name, list(arguments)).params
    for parameter, complete in (("settings", completion.settings), ("words", completion.pairs)):
        for word in parameters.get(parameter) or ():
            key, equals, _ = str(word).partition("=")
            key = key.removeprefix("target.") if name == "sweep" else key
            offered = complete(SimpleNamespace(info_name=name, params={}), key)  # type: ignore[arg-type]
            known = f"{key}=" in offered or any(each.startswith(f"{key}.") for each in offered)  # or a whole group
            assert not equals or known, f"{key} is not a setting of efface {name}"


def test_pages_have_commands() -> None:
    assert len(LINES) > 50


def test_scripts_that_a_page_names_exist() -> None:
    scripts = re.compile(r"\b(?:benchmarks|examples|scripts)/[\w./-]+\.\w+")
    pages = [page for page in PAGES if not set(page.parts) & set(RECORDS)]
    named = {(page.name, path) for page in pages for path in scripts.findall(page.read_text(encoding="utf-8"))}
    assert named
    assert not sorted((page, path) for page, path in named if not (ROOT / path).exists())
