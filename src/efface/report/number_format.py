"""Numbers as text. No torch."""

from __future__ import annotations


def format_number(value: float | None) -> str:
    """Format a score.

    Args:
        value: The score, or None where it is missing.

    Returns:
        Three decimals, or a dash for None.
    """
    return "-" if value is None else f"{value:.3f}"


def pluralize(count: int, singular: str) -> str:
    """Format a count with its noun.

    Args:
        count: How many.
        singular: The noun for one of them; its plural must end in `s`.

    Returns:
        Such as `1 question` or `1,200 questions`.
    """
    return f"{count:,} {singular}{'' if count == 1 else 's'}"


def format_bytes(count: float) -> str:
    """Format a size.

    Args:
        count: Number of bytes.

    Returns:
        Three significant digits and a unit, such as `1.23 GiB`.
    """
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 999.5:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"
