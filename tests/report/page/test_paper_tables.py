"""Tables for papers and spreadsheets."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from efface.report.page.load_run import load_report_run
from efface.report.page.paper_tables import render_csv, render_paper_tables
from support.reports import correct, records, start_run, write_example_run, write_queue, write_run, write_stage


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_markdown(tmp_path: Path) -> None:
    run = load_report_run(write_example_run(tmp_path / "a|b_c`"))
    assert run.after is not None
    text = render_paper_tables([run], "markdown")
    assert (
        f"| a\\|b\\_c\\` | after | ME+GD | {run.after.model_utility:.3f} | {run.after.model_utility_retain:.3f} "
        f"| {run.after.forget_efficacy:.3f} | in part, 2/10 leak | kept 17/20 |" in text
    )
    assert "| forget | 10 | before | 1.000 |" in text
    assert "\n\nMetrics by set (closer-look): `a|b_c'`\n\n| Set |" in text


def test_latex(tmp_path: Path) -> None:
    text = render_paper_tables([load_report_run(write_example_run(tmp_path / "50%_&{x}\\"))], "latex")
    assert "50\\%\\_\\&\\{x\\}\\textbackslash{} & after & ME+GD & " in text
    assert text.count("\\toprule") == text.count("\\bottomrule") == text.count("\\end{tabular}") == 2
    comments = [line for line in text.splitlines() if "50%" in line]
    assert len(comments) == 1
    assert comments[0].startswith("% Metrics by set")


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_cell_is_a_formula(tmp_path: Path, start: str) -> None:
    def said(number: int) -> str:
        return f'{start}HYPERLINK("x","y"),\n{number}'

    before = records(forget=(2, correct), retain=(2, correct))
    found = lines(
        render_csv([load_report_run(write_run(tmp_path, before, records(forget=(2, said), retain=(2, correct))))])
    )
    outputs = [line["output"] for line in found if line["set"] == "forget" and line["stage"] == "after" and line["id"]]
    assert outputs
    assert all(output.startswith("'") for output in outputs)
    assert outputs[0].endswith('HYPERLINK("x","y"), 1')


def test_csv_has_models_sets_and_questions(tmp_path: Path) -> None:
    run = load_report_run(write_example_run(tmp_path / "one"))
    assert run.after is not None
    found = lines(render_csv([run]))
    models = [line for line in found if not line["set"]]
    assert [line["stage"] for line in models] == ["before", "epoch 1", "epoch 2", "after"]
    assert float(models[-1]["forget_efficacy"]) == run.after.forget_efficacy
    sets = [line for line in found if line["set"] and not line["id"]]
    assert [(line["stage"], line["set"], line["n"]) for line in sets] == [
        (stage, name, n) for stage in ("before", "after") for name, n in (("retain", "20"), ("forget", "10"))
    ]
    assert float(sets[-1]["rouge"]) == run.after.sets["forget"].rouge
    questions = [line for line in found if line["id"]]
    assert len(questions) == 60
    assert [line["verdict"] for line in questions].count("leaks") == 4  # before and after
    assert "partial_model_utility" not in found[0]


def test_csv_of_a_queue(tmp_path: Path) -> None:
    found = lines(render_csv([load_report_run(write_queue(tmp_path))]))
    assert [line["stage"] for line in found if not line["set"]] == ["before", "after request 1", "after"]


def test_unfinished_and_partial_are_reported(tmp_path: Path) -> None:
    start_run(tmp_path)
    sets = records(forget=(2, correct), retain=(2, correct))
    without = {
        name: [each.model_copy(update={"judge": None, "entailment_label": None}) for each in rows]
        for name, rows in sets.items()
    }
    write_stage(tmp_path / "records" / "before", without)
    run = load_report_run(tmp_path)
    for text in (render_paper_tables([run], "markdown"), render_paper_tables([run], "latex")):
        assert "Unfinished: Training had not started." in text
        assert "Utility and efficacy are partial, over ROUGE, Probability" in text
    [model] = [line for line in lines(render_csv([run])) if not line["set"]]
    assert model["unfinished"] == "Training had not started."
    assert model["model_utility"] == ""
    assert float(model["partial_model_utility"]) > 0.9
