"""Recognize files with questions and outputs that efface wrote under a name of the user's choice. No torch."""

from __future__ import annotations

from functools import cache
from pathlib import PurePath
from typing import get_args

from efface.report.export import Format, flat_table
from efface.report.flat_tables import differences_headings
from efface.report.page.paper_tables import RUN_COLUMNS

_PAGE = b'<meta name="generator" content="efface'
_PAGE_SUFFIXES = (".html", ".htm")


def is_report(name: str, head: bytes) -> bool:
    """Whether a file is a page of `efface report`, or a table with texts: its CSV, or differences of the leaderboard.

    The other tables, in Markdown and LaTeX, have numbers only, and no line that tells them from a user's own.

    Args:
        name: The file's name.
        head: Its first bytes.
    """
    if PurePath(name).suffix.lower() in _PAGE_SUFFIXES and _PAGE in head:
        return True
    return head.startswith(_beginnings())


@cache
def _beginnings() -> tuple[bytes, ...]:
    """What the tables with texts start with, whatever models they are of."""
    csv = flat_table("csv", [*RUN_COLUMNS, "NAME"], ())
    differences = (flat_table(form, differences_headings("NAME", "NAME"), ()) for form in get_args(Format))
    heads = [csv.partition("NAME")[0], *(text.partition("Output")[0] for text in differences)]
    return tuple(head.encode() for head in heads)
