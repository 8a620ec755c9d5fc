from __future__ import annotations

import io

from rich.console import Console

from efface.report.terminal.audit import print_audit
from support.audit_results import attack, results


def printed(**changes: object) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_audit(console, results(**changes))  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_sentence_stands_above_the_table() -> None:
    text = printed()
    assert text.startswith("11 of 34 facts")
    assert max(map(len, text.splitlines())) <= 80
    for part in ("plain", "0 of 20 (≤ 14 %)", "9 of 20", "read-out", "not tried: lens", "2 attacks"):
        assert part in text


def test_names_are_no_markup() -> None:
    assert "[red]x" in printed(attacks={"[red]x": attack(0.5)}, left_out={"[bold]y": "[dim]z"})
