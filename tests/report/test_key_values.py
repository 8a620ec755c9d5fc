"""Facts beside their names, and sizes in bytes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from efface.report.key_values import format_bytes, print_key_values


def printed(show, *, terminal: bool) -> str:
    text = io.StringIO()
    show(Console(file=text, width=40, force_terminal=terminal, color_system=None))
    return text.getvalue()


def test_in_a_terminal_texts_are_wrapped_beside_their_names():
    facts = [("name", "a text of many words that does not fit into forty columns"), ("b", "\x1b[31mred")]
    lines = printed(lambda console: print_key_values(console, "Title", facts), terminal=True).splitlines()
    assert lines[0] == "Title"
    assert lines[1].startswith("  name  a text of many words")
    assert lines[2].startswith("        ")
    assert "\x1b" not in lines[-1]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1000, "0.977 KiB"), (1536, "1.5 KiB"), (80 * 2**30, "80 GiB"), (5e15, "4.55e+03 TiB")],
)
def test_sizes(count, text):
    assert format_bytes(count) == text
