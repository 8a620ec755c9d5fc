from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from efface.artifacts import Results
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from efface.report.page.html import render_page
from efface.report.page.load_run import ReportRun, load_report_run
from efface.report.page.questions.question_outcomes import question_outcomes
from efface.report.page.sections.audit_section import AuditSection, audit_section, relearn_curves
from support.audit_results import results
from support.messages import assert_names
from support.reports import write_example_run

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def run(tmp_path: Path) -> ReportRun:
    """A run that was audited."""
    loaded = load_report_run(write_example_run(tmp_path / "run"))
    assert isinstance(loaded.results, Results)
    return replace(loaded, results=loaded.results.model_copy(update={"audit": results()}))


def write_rows(run: ReportRun, *rows: dict[str, object]) -> None:
    path = RunPaths(run.path).audit_rows
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def row(run: ReportRun, number: int, **changes: object) -> dict[str, object]:
    asked = [each for each in question_outcomes(run) if each.set == "forget"][number]
    values = {"model": "after", "attack": "relearn", "variant": "some", "fact": asked.id, "hit": True, "output": "O"}
    return {**values, **changes}


def section(run: ReportRun) -> AuditSection:
    found = audit_section(run, question_outcomes(run))
    assert found is not None
    return found


def test_a_run_that_was_not_audited_has_no_section(tmp_path: Path) -> None:
    loaded = load_report_run(write_example_run(tmp_path / "run"))
    assert audit_section(loaded, ()) is None
    assert relearn_curves(loaded) is None
    assert "brought back" not in render_page([loaded], version="1")


def test_the_section_has_what_the_audit_found(run: ReportRun) -> None:
    found = section(run)
    assert [(bar.k, bar.n) for bar in found.bars] == [(0, 34), (1, 34), (11, 34), (2, 34)]
    assert "one-sided" in found.bars[0].text
    assert [cells[0] for cells in found.table.rows] == ["plain", "relearn", "read-out"]
    assert found.curve is not None
    assert found.curve.headings[1:] == ["2", "8"]
    assert [list(cells) for cells in found.curve.rows] == [
        ["after, some", "0.200", "0.450"],
        ["control, some", "-", "0.100"],
    ]
    assert found.numbers is not None
    assert [cells[1] for cells in found.numbers.rows] == ["extraction strength"]
    assert found.left_out == [("lens", "not among audit.attacks")]
    assert relearn_curves(run) == {
        "step": [2, 8],
        "lines": {"after, some": [0.2, 0.45], "control, some": [None, 0.1]},
    }


def test_hits_of_the_unlearned_model_are_there_to_read(run: ReportRun) -> None:
    assert section(run).hits == []
    others = [
        row(run, 0, model="control"),
        row(run, 0, hit=False),
        row(run, 0, attack="plain"),
        row(run, 0, attack="other"),
        row(run, 0, fact="?"),
    ]
    write_rows(run, *others, *(row(run, 1, output=f"O{number}") for number in range(30)))
    hits = section(run).hits
    assert len(hits) == 10
    assert hits[0].output == "O0"
    assert hits[0].question == [each for each in question_outcomes(run) if each.set == "forget"][1].question


def test_damaged_rows_are_refused(run: ReportRun) -> None:
    write_rows(run)
    RunPaths(run.path).audit_rows.write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(EffaceError) as error:
        section(run)
    assert_names(str(error.value), str(RunPaths(run.path).audit_rows), "audit")


def test_what_came_back_stands_at_the_top_of_the_page(run: ReportRun) -> None:
    write_rows(run)
    found = run.results.audit.recoverable
    assert found.asked_plainly != found.k, "or this shows nothing"
    page = render_page([run], version="1")
    headline = page[: page.index("</article>")]
    assert f"Brought back</dt><dd><strong>{found.k}</strong> of {found.n}</dd>" in headline


def test_texts_of_an_audit_are_no_markup(run: ReportRun) -> None:
    write_rows(run, row(run, 0, output=HOSTILE, variant=HOSTILE))
    page = render_page([run], version="1")
    assert "Can it be brought back?" in page
    assert HOSTILE not in page
    assert "&lt;img src=x" in page
