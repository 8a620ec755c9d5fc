"""Progress of downloads: a bar for each file in a terminal, nothing elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from efface.cli.data.download_bars import shown_downloads


def shown(*, terminal: bool) -> str:
    stream = io.StringIO()
    with shown_downloads(Console(file=stream, force_terminal=terminal, width=80)) as progress:
        progress("a.json", 50, 100)
        progress("[b].json", 100, 100)
        progress("a.json", 100, 100)
    return stream.getvalue()


def test_a_bar_for_each_file() -> None:
    text = shown(terminal=True)
    assert "a.json" in text
    assert "[b].json" in text
    assert "100/100 bytes" in text


def test_nothing_without_a_terminal() -> None:
    assert shown(terminal=False).strip() == ""
