from __future__ import annotations

import io

from rich.console import Console

from efface.report.terminal.key_values import print_key_values

FACTS = [("name", "a text of many words that does not fit into forty columns"), ("b", "\x1b[31mred")]


def printed(*, terminal: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=40, force_terminal=terminal, color_system=None)
    print_key_values(console, "Title", FACTS)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in text
    return text.splitlines()


def test_in_a_terminal_texts_are_wrapped_next_to_their_names() -> None:
    lines = printed(terminal=True)
    assert lines[0] == "Title"
    assert lines[1].startswith("  name  a text of many words")
    assert lines[2].startswith("        ")


def test_elsewhere_every_text_is_one_line() -> None:
    assert printed(terminal=False) == ["Title", f"  name: {FACTS[0][1]}", "  b: [31mred"]
