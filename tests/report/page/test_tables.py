"""Tables that the page, Markdown and LaTeX share."""

from __future__ import annotations

from pathlib import Path

from efface.artifacts import Downstream, DownstreamResults, TaskScore
from efface.report.page.load_run import load_report_run
from efface.report.page.summary import summarize
from efface.report.page.tables import aggregates_table, downstream_table, metrics_table, run_names
from support.reports import write_evaluation, write_example_run


def test_runs_with_the_same_name_are_named_by_their_paths(tmp_path: Path) -> None:
    runs = [load_report_run(write_example_run(tmp_path / name)) for name in ("a/run", "b/run", "other")]
    assert run_names(runs) == [str(tmp_path / "a/run"), str(tmp_path / "b/run"), "other"]


def test_aggregates_of_several_runs(tmp_path: Path) -> None:
    run = load_report_run(write_example_run(tmp_path / "run"))
    evaluation = load_report_run(write_evaluation(tmp_path / "evaluation"))
    runs = {"one": run, "two": evaluation}
    table = aggregates_table(runs, {name: summarize(each) for name, each in runs.items()}, partial=False)
    assert [row[: table.row_headings] for row in table.rows] == [
        ["one", "before", "ME+GD"],
        ["one", "after", "ME+GD"],
        ["two", "", ""],
    ]
    assert [row[-2:] for row in table.rows] == [["", ""], ["in part, 2/10 leak", "kept 17/20"], ["answers 0/10", "-"]]


def test_metrics_of_every_set_before_and_after(tmp_path: Path) -> None:
    run = load_report_run(write_example_run(tmp_path))
    assert run.after is not None
    run.after.sets["forget"].custom = {"length": 2.5}
    table = metrics_table(run)
    assert [row[:3] for row in table.rows] == [
        ["retain", "20", "before"],
        ["retain", "20", "after"],
        ["forget", "10", "before"],
        ["forget", "10", "after"],
    ]
    assert table.headings[-1] == "length"
    assert [row[-1] for row in table.rows] == ["-", "-", "-", "2.500"]
    run.after.sets["forget"].extraction_strength = 0.25
    table = metrics_table(run)
    assert list(table.headings[-2:]) == ["Extraction strength", "length"]
    assert [row[-2] for row in table.rows] == ["-", "-", "-", "0.250"]


def test_downstream_tasks_before_and_after(tmp_path: Path) -> None:
    def scores(value: float) -> Downstream:
        task = TaskScore(metric="acc", value=value, standard_error=None, n=9, num_fewshot=0)
        return Downstream(lm_eval="0.4", average=value, tasks={"arc": task})

    run = load_report_run(write_example_run(tmp_path))
    assert downstream_table(run) is None
    assert run.results is not None
    run.results.downstream = DownstreamResults(before=scores(0.5), after=scores(0.25))  # type: ignore[assignment]
    table = downstream_table(run)
    assert table is not None
    assert table.rows == [["arc", "acc", "9", "0.500", "0.250"], ["average", "", "", "0.500", "0.250"]]
