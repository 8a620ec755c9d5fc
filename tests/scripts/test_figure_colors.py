"""Figures and the site are readable in both themes, and figures on a phone."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from figure_colors import BACKGROUND, BOX, GRID, MUTED, PALETTE, SERIES, TEXT, contrast, with_dark_colors

DOCS = Path(__file__).parents[2] / "docs"
FIGURES = sorted((DOCS / "images").rglob("*.svg"))
PHONE = 358
"""Width of a figure on a phone of 390 pixels, in pixels."""
SLATE = "#1e2129"
"""The dark background of the site's theme."""


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)  # the well-known grey just below 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_lines_stand_out(theme: str) -> None:
    behind = getattr(BACKGROUND, theme)
    for color in (TEXT, MUTED, *SERIES):
        assert contrast(getattr(color, theme), behind) >= 4.5, color
    assert contrast(getattr(TEXT, theme), getattr(BOX, theme)) >= 4.5
    assert contrast(getattr(GRID, theme), behind) < 3  # less than what it is behind


def test_a_color_has_one_meaning() -> None:
    assert len({color.light for color in PALETTE}) == len({color.dark for color in PALETTE}) == len(PALETTE)


def test_a_color_without_a_dark_one_is_refused() -> None:
    with pytest.raises(ValueError, match="#123456"):
        with_dark_colors('<svg xmlns="http://www.w3.org/2000/svg"><rect style="fill: #123456"/></svg>')


@pytest.mark.parametrize("figure", FIGURES, ids=lambda path: path.stem)
def test_figures_have_the_colors_of_both_themes(figure: Path) -> None:
    svg = figure.read_text(encoding="utf-8")
    plain = re.sub(r"\n<style>@media \(prefers-color-scheme: dark\).*?</style>", "", svg)
    assert with_dark_colors(plain) == svg, "draw it again with its script"
    assert plain != svg


@pytest.mark.parametrize("figure", FIGURES, ids=lambda path: path.stem)
def test_text_of_figures_is_readable_on_a_phone(figure: Path) -> None:
    svg = figure.read_text(encoding="utf-8")
    width = float(re.search(r'viewBox="0 0 ([\d.]+) ', svg)[1])  # type: ignore[index]
    sizes = [float(size) for size in re.findall(r'font(?:-size)?(?:: |=")(?:bold )?([\d.]+)', svg)]
    assert sizes
    assert min(sizes) * PHONE / width >= 9


def test_links_and_headings_of_the_site_stand_out() -> None:
    css = (DOCS / "assets" / "site.css").read_text(encoding="utf-8")
    for scheme, behind in (("default", ("#ffffff", "#f5f5f5")), ("slate", (SLATE, "#272a34"))):
        rules = "".join(re.findall(rf'\[data-md-color-scheme="{scheme}"\] {{(.*?)}}', css, re.DOTALL))
        colors = dict(re.findall(r"(--md-[\w-]+): (#[0-9a-f]{6});", rules))
        assert {"--md-typeset-a-color", "--md-accent-fg-color", "--md-default-fg-color--light"} <= set(colors)
        for (name, color), page in product(colors.items(), behind):
            assert contrast(color, page) >= 4.5, f"{scheme}: {name} on {page}"
    header = re.search(r"--md-primary-fg-color: (#[0-9a-f]{6})", css)
    assert header
    assert contrast(header[1], "#ffffff") >= 4.5
