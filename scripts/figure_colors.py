"""The colors of the figures in docs/images, for light and dark pages, and the style sheet that switches between them.

A figure is drawn in the light colors. Its style sheet replaces each by the dark one where the page around it is dark:
one file serves the site in both themes and the README. It has a background, so it is readable on any page.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Color(NamedTuple):
    """One color of the figures."""

    light: str
    """On a light page, such as #0f766e."""
    dark: str
    """On a dark page."""


BACKGROUND = Color("#ffffff", "#1e2129")
TEXT = Color("#1f2937", "#e5e7eb")
MUTED = Color("#57606e", "#a9b1bd")
"""Text that is read second, axes, and what is compared with."""
GRID = Color("#d8dce2", "#3a404b")
SERIES = (
    Color("#0e726b", "#2dd4bf"),
    Color("#b45309", "#fbbf24"),
    Color("#7c3aed", "#c4b5fd"),
    Color("#be123c", "#fb8ba0"),
    Color("#2563eb", "#7db4ff"),
)
"""Lines, marks and text of one series."""
BOX = Color("#e0f2f1", "#16423f")
"""The inside of a box with text."""

PALETTE = (BACKGROUND, TEXT, MUTED, GRID, *SERIES, BOX)
_USED = re.compile(r"#[0-9a-fA-F]{6}\b")


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colors, 1 to 21.

    Args:
        one: A color such as #0f766e.
        other: Another one.

    Source: WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio.
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def with_dark_colors(svg: str) -> str:
    """Add the style sheet of dark pages to a figure.

    Args:
        svg: A figure that gives its colors as `style="fill: #0f766e"`, in light colors of the palette.

    Raises:
        ValueError: It has another color, which would stay the same on a dark page.
    """
    used = set(_USED.findall(svg))
    if others := used - {color.light for color in PALETTE}:
        raise ValueError(f"{', '.join(sorted(others))}: no color of scripts/figure_colors.py; use or add one there")
    rules = "".join(
        f'[style*="{role}: {color.light}"]{{{role}:{color.dark}!important}}'
        for color in PALETTE
        if color.light in used
        for role in ("fill", "stroke")
    )
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}\n<style>@media (prefers-color-scheme: dark){{{rules}}}</style>{svg[start:]}"


def _luminance(color: str) -> float:
    channels = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
