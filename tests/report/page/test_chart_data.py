"""The numbers of the charts."""

from __future__ import annotations

from pathlib import Path

from efface.report.page.chart_data import loss_curves, scatter_data, scatter_points, watch_curves
from efface.report.page.load_run import load_report_run
from support.reports import write_evaluation, write_example_run, write_queue, write_watched


def test_the_points_of_a_run_are_its_stages(tmp_path: Path) -> None:
    run = load_report_run(write_example_run(tmp_path))
    assert run.after is not None
    points = scatter_points(run, partial=False)
    assert [(each.type, each.label) for each in points] == [
        ("before", "before"),
        ("epoch", "epoch 1"),
        ("epoch", "epoch 2"),
        ("after", "after"),
    ]
    assert (points[-1].utility, points[-1].efficacy) == (run.after.model_utility, run.after.forget_efficacy)


def test_the_points_of_a_queue_and_of_an_evaluation(tmp_path: Path) -> None:
    queue = load_report_run(write_queue(tmp_path / "queue"))
    assert [each.type for each in scatter_points(queue, partial=False)] == ["before", "request", "after"]
    evaluation = load_report_run(write_evaluation(tmp_path / "evaluation"))
    assert [(each.type, each.label) for each in scatter_points(evaluation, partial=False)] == [("model", "this model")]


def test_scatter_data_is_rounded(tmp_path: Path) -> None:
    points = scatter_points(load_report_run(write_example_run(tmp_path)), partial=False)
    [data] = scatter_data([("run", points)])
    assert data["name"] == "run"
    assert data["points"][0] == {  # type: ignore[index]
        "x": round(points[0].utility, 4),
        "y": round(points[0].efficacy, 4),
        "type": "before",
        "label": "before",
    }


def test_loss_curves(tmp_path: Path) -> None:
    curves = loss_curves(load_report_run(write_example_run(tmp_path / "run")))
    assert curves is not None
    assert curves.keys() == {"step", "forget", "retain", "loss"}
    assert (curves["step"][:2], curves["forget"][:3]) == ([1.0, 2.0], [2.0, 1.0, 0.66667])
    assert loss_curves(load_report_run(write_evaluation(tmp_path / "evaluation"))) is None


def test_watch_curves(tmp_path: Path) -> None:
    folder = write_example_run(tmp_path / "run")
    assert watch_curves(load_report_run(folder)) is None
    write_watched(folder, 5, 10)
    run = load_report_run(folder)
    assert watch_curves(run) == {
        "step": [0.0, 5.0, 10.0],
        "forget_answer": [-0.5, -1.5, -2.5],
        "forget_refusal": [None] * 3,
        "retain_answer": [-0.25] * 3,
        "retain_refusal": [-3.0, -2.0, -1.0],
        "ap_weight": [0.125, 0.25, 0.375],
    }
    assert len(run.steps) == 10  # and no other lines


def test_watched_requests_come_one_after_another(tmp_path: Path) -> None:
    folder = write_queue(tmp_path / "queue")
    for name in ("01", "02"):
        write_watched(folder / "requests" / name, 10)
    run = load_report_run(folder)
    assert [(each.label, each.step) for each in run.watched] == [
        ("request 1, epoch 0", 0),
        ("request 1, epoch 1", 10),
        ("request 2, epoch 0", 10),
        ("request 2, epoch 1", 20),
    ]
