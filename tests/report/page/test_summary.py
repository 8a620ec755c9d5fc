"""The headline."""

from __future__ import annotations

from pathlib import Path

from efface.report.page.chart_data import points
from efface.report.page.load_run import load_report_run
from efface.report.page.question_outcomes import question_rows
from efface.report.page.summary import Summary, aggregates, partial_metrics, scores_of, summarize
from support.reports import (
    Says,
    known,
    records,
    start_run,
    unknown,
    usual_run,
    write_evaluation,
    write_queue,
    write_run,
    write_steps,
)


def summary(path: Path, forget: Says = known, retain: Says = known) -> Summary:
    """After unlearning it says this; before, it knew everything."""
    before = records(forget=(20, known), retain=(20, known))
    run = load_report_run(write_run(path, before, records(forget=(20, forget), retain=(20, retain))))
    return summarize(run, question_rows(run))


def test_it_forgot_and_kept_the_rest(tmp_path: Path) -> None:
    found = summary(tmp_path, forget=unknown)
    assert found.forgot == "It forgot: of 20 questions to forget, it answered 20 rightly before and 0 after."
    assert found.kept == (
        "It kept the rest: of 20 questions to keep, 20 were answered rightly before; 0 of these no longer are."
    )
    assert found.good == (True, True)


def test_it_forgot_nothing_and_broke_the_rest(tmp_path: Path) -> None:
    found = summary(tmp_path, retain=unknown)
    assert found.forgot.startswith("It did not forget: ")
    assert found.kept.startswith("It broke most of the rest: ")
    assert found.good == (False, False)


def test_it_forgot_in_part(tmp_path: Path) -> None:
    def half(number: int) -> str:
        return known(number) if number <= 8 else unknown(number)

    found = summary(tmp_path, forget=half, retain=lambda number: unknown(number) if number <= 5 else known(number))
    assert found.forgot.startswith("It forgot in part: of 20 questions to forget, it answered 20 rightly before and 8 ")
    assert found.kept.startswith("It lost some of the rest: ")
    assert found.forget.bad == 8
    assert found.keep.bad == 5


def test_who_knew_nothing_could_not_forget(tmp_path: Path) -> None:
    stage = records(forget=(20, unknown), retain=(20, unknown))
    run = load_report_run(write_run(tmp_path, stage, stage))
    found = summarize(run, question_rows(run))
    assert found.forgot == "There was little to forget: none of the 20 questions was answered rightly before."
    assert found.kept.endswith("so little could break.")
    assert found.good == (None, None)


def test_what_cannot_be_said_yet(tmp_path: Path) -> None:
    start_run(tmp_path)
    write_steps(tmp_path, 3, steps=9)
    run = load_report_run(tmp_path)
    found = summarize(run, question_rows(run))
    assert found.forgot == "It cannot be said yet: did it forget?"
    assert found.good == (None, None)
    assert aggregates(run, partial=False) == {}


def test_a_single_model(tmp_path: Path) -> None:
    run = load_report_run(write_evaluation(tmp_path))
    found = summarize(run, question_rows(run))
    assert found.forgot == "It answers 0 of the 10 questions to forget rightly."
    assert found.kept == "It answers 20 of the 20 questions to keep rightly."
    assert [each.kind for each in points(run, partial=False)] == ["model"]


def test_the_path_from_before_to_after(tmp_path: Path) -> None:
    run = load_report_run(usual_run(tmp_path))
    assert run.after is not None
    found = points(run, partial=False)
    assert [each.label for each in found] == ["before", "epoch 1", "epoch 2", "after"]
    assert (found[-1].utility, found[-1].efficacy) == (run.after.model_utility, run.after.forget_efficacy)


def test_a_queue_has_the_mean_of_what_was_asked(tmp_path: Path) -> None:
    run = load_report_run(write_queue(tmp_path))
    assert run.queue is not None
    first, second = run.queue.forget_efficacy
    found = aggregates(run, partial=False)
    assert list(found) == ["before", "after request 1", "after"]
    before, middle, after = (each.forget_efficacy for each in found.values())
    assert before == (first[0] + second[0]) / 2  # type: ignore[operator]
    assert middle == first[1]
    assert after == (first[2] + second[2]) / 2  # type: ignore[operator]
    assert [each.kind for each in points(run, partial=False)] == ["before", "request", "after"]


def test_partial_scores_where_a_metric_is_missing(tmp_path: Path) -> None:
    whole = records(forget=(4, known), retain=(4, known))
    run = load_report_run(write_run(tmp_path / "whole", whole, whole))
    assert partial_metrics([scores for _, scores in scores_of(run)]) is None
    without = {
        name: [each.model_copy(update={"judge": None, "entailment_label": None}) for each in rows]
        for name, rows in whole.items()
    }
    run = load_report_run(write_run(tmp_path / "without", without, without))
    assert partial_metrics([scores for _, scores in scores_of(run)]) == [
        ["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity"]
    ]
    assert aggregates(run, partial=False)["after"].model_utility is None
    assert aggregates(run, partial=True)["after"].model_utility is not None
