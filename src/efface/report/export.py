"""A table as Markdown, LaTeX or CSV; cells may contain untrusted text. No torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal, TypeAlias

from efface.report.sanitize import one_line

Format = Literal["markdown", "csv", "latex"]
Cell: TypeAlias = str | float | None

_MARKDOWN = str.maketrans({each: f"\\{each}" for each in "\\`*_{}[]<>#|~$&"})
_LATEX = str.maketrans(
    {
        **{each: f"\\{each}" for each in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
    }
)


def flat_table(form: Format, headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Write one table.

    Args:
        form: LaTeX needs the package booktabs.
        headings: One per column; escaped like cells.
        rows: Cells of each row. Numbers are written with three decimals, in CSV with all digits; None as a dash, in
            CSV as an empty cell.

    Returns:
        The table, ending with a line break.
    """
    match form:
        case "csv":
            return _csv(headings, rows)
        case "markdown":
            return _markdown(headings, rows)
        case "latex":
            return _latex(headings, rows)


def _csv(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(
        [_without_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in [headings, *rows]
    )
    return text.getvalue()


def _without_formula(cell: str) -> str:
    """Quote a text that a spreadsheet would evaluate."""
    line = one_line(cell)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    first, *others = [[_format_cell(cell).translate(_MARKDOWN) for cell in row] for row in [headings, *rows]]
    lines = [first, ["---"] * len(headings), *others]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _latex(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    body = [" & ".join(_format_cell(cell).translate(_LATEX) for cell in row) + r" \\" for row in [headings, *rows]]
    lines = [rf"\begin{{tabular}}{{{'l' * len(headings)}}}", r"\toprule", body[0], r"\midrule", *body[1:]]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _format_cell(cell: Cell) -> str:
    if cell is None:
        return "-"
    return one_line(cell) if isinstance(cell, str) else str(cell) if isinstance(cell, int) else f"{cell:.3f}"
