from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from efface.artifacts import Results
from efface.report.page.html import render_page
from efface.report.page.load_run import ReportRun, load_report_run
from efface.report.page.sections.lens_layers import lens_curves, lens_table
from support.audit_results import results
from support.reports import write_example_run

SCALARS = {
    "lens": {
        "logprob_layer_00_before": -8.0,
        "logprob_layer_10_before": -0.5,
        "chance_layer_00_before": -9.0,
        "logprob_layer_00_after": -8.5,
        "logprob_layer_10_after": None,
        "drop_layer_10_after": 2.0,
        "lens_score": 0.25,
        "logprob_layer_00_<img>": -1.0,
    }
}


def audited(tmp_path: Path, **changes: object) -> ReportRun:
    loaded = load_report_run(write_example_run(tmp_path / "run"))
    assert isinstance(loaded.results, Results)
    return replace(loaded, results=loaded.results.model_copy(update={"audit": results(**changes)}))


def test_the_table_has_a_row_for_each_layer() -> None:
    table = lens_table(results(scalars=SCALARS))
    assert table is not None
    assert list(table.headings) == ["Layer", "before", "before, another fact", "after", "after, drop when patched"]
    assert [list(row) for row in table.rows] == [
        ["0", "-8.000", "-9.000", "-8.500", "-"],
        ["10", "-0.500", "-", "-", "2.000"],
    ]
    assert lens_table(results()) is None


def test_the_chart_has_the_log_probabilities(tmp_path: Path) -> None:
    run = audited(tmp_path, scalars=SCALARS)
    assert lens_curves(run) == {"step": [0, 10], "lines": {"before": [-8.0, -0.5], "after": [-8.5, None]}}
    assert lens_curves(audited(tmp_path)) is None


def test_the_page_shows_layers_beside_the_other_numbers(tmp_path: Path) -> None:
    page = render_page([audited(tmp_path, scalars=SCALARS)], version="1")
    assert "data-lens" in page
    assert "lens_score" in page
    assert "logprob_layer_00_before" not in page
    assert "data-lens" not in render_page([audited(tmp_path)], version="1")
