"""The results of an audit in the terminal: the sentence, a table of attacks, and what was left out. No torch."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from efface.artifacts.audit import AttackResult, AuditResults
from efface.report.audit_words import BOUND, LIMITS, headline, percent, short_count
from efface.report.sanitize import one_line
from efface.report.terminal.rich_tables import empty_table, print_line


def print_audit(console: Console, results: AuditResults) -> None:
    """Print the results.

    Args:
        console: Where to print.
        results: Of `efface audit`.
    """
    console.print(Text(one_line(headline(results))))
    table = empty_table("Attacks")
    table.add_column("")
    for name in ("brought back", "control", "before", "chance", "p"):
        table.add_column(name, justify="right")
    for name, each in results.attacks.items():
        table.add_row(Text(one_line(name)), *_cells(each))
    console.print(table)
    tested = sum(each.p_value is not None for each in results.attacks.values())
    print_line(
        console,
        f"Judge: {results.recoverable.judge}. {BOUND}. p: that it brings back no more than from the control, adjusted "
        f"for {tested} attacks.",
        style="dim",
    )
    for name, reason in results.left_out.items():
        print_line(console, f"not tried: {name}: {reason}", style="yellow")
    console.print(Text(LIMITS), style="dim")


def _cells(each: AttackResult) -> list[str]:
    if each.rate is None:
        return ["-"] * 5
    p = "-" if each.p_value is None else f"{each.p_value:.3f}"
    shares = [each.control_rate, each.before_rate, each.chance]
    return [
        short_count(round(each.rate * each.n), each.n),
        *("-" if share is None else percent(share) for share in shares),
        p,
    ]
