"""What all figures have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

figures = pytest.importorskip("figures", reason="matplotlib is not installed")


def plot():
    figure, axes = figures.pyplot.subplots(figsize=(figures.WIDTH, 3))
    axes.plot([0, 1], [0, 1], label="one")
    return figure, axes


@pytest.fixture(autouse=True)
def closed():
    yield
    figures.pyplot.close("all")


def test_a_figure_has_both_themes_and_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("one.svg", "again.svg"):
        figure, axes = plot()
        figures.legend_above(figure, *axes.get_legend_handles_labels())
        figures.save(figure, tmp_path / name)
    svg = (tmp_path / "one.svg").read_text()
    assert "prefers-color-scheme: dark" in svg
    assert ">one</text>" in svg
    assert svg == (tmp_path / "again.svg").read_text()


def test_a_legend_over_data_is_refused(tmp_path: Path) -> None:
    figure, axes = plot()
    axes.legend(loc="center")
    with pytest.raises(ValueError, match="legend"):
        figures.save(figure, tmp_path / "one.svg")
    axes.get_legend().remove()
    figures.legend_beside(axes)
    figures.save(figure, tmp_path / "one.svg")


def test_text_over_the_edge_is_refused(tmp_path: Path) -> None:
    figure, axes = plot()
    axes.text(0.9, 0.5, "much more than fits here").set_in_layout(True)
    figure.set_layout_engine("none")
    with pytest.raises(ValueError, match="cut"):
        figures.save(figure, tmp_path / "one.svg")
    assert not (tmp_path / "one.svg").exists()
