"""What all figures drawn with matplotlib have in common: width, size of text, colors, and how they are written.

Panels are below each other, so that a figure is narrow enough for its text to be read on a phone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

from figure_colors import BACKGROUND, GRID, MUTED, SERIES, TEXT, with_dark_colors

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "efface",
        "svg.fonttype": "none",  # text as text: it can be searched and selected
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.facecolor": BACKGROUND.light,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": matplotlib.cycler(color=[color.light for color in SERIES]),
        "figure.constrained_layout.use": True,
        "figure.facecolor": BACKGROUND.light,
        "grid.color": GRID.light,
        "legend.frameon": False,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "legend.labelcolor"), TEXT.light),
        **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED.light),
    }
)
WIDTH = 5.4
"""Inches; browsers show 96 pixels an inch."""
MARKERS = "osD^v"
"""One for each color of a series."""


def save(figure: Any, out: Path) -> None:
    """Write a figure as SVG with the colors of both themes, and close it.

    Args:
        figure: Of matplotlib, in colors of `figure_colors`.
        out: The file to write.

    Raises:
        ValueError: A legend lies over data, something is cut, or a color is not of the palette.
    """
    figure.canvas.draw()
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    if any(legend.get_window_extent().overlaps(axes.get_window_extent()) for legend in legends for axes in figure.axes):
        raise ValueError(f"{out.name}: a legend lies over data; place it outside of the axes")
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    if min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) < -0.02:  # glyphs have a margin
        raise ValueError(f"{out.name}: something is cut at its edge; leave more space for it")
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    out.write_text(with_dark_colors(svg.getvalue()), encoding="utf-8")


def legend_above(figure: Any, handles: Sequence[Any], labels: Sequence[str], *, columns: int = 1) -> None:
    """Place a legend above all panels.

    Args:
        figure: Of matplotlib.
        handles: Lines and marks, as `axes.get_legend_handles_labels()` returns them.
        labels: Their names.
        columns: How many names stand beside each other.
    """
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def legend_beside(axes: Any) -> None:
    """Place the legend of a panel to its right."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
